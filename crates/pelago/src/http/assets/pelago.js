// Reads the API every two seconds and shows it as tables. Text is set as text: names cannot become markup.
"use strict";
const glyph = { alive: "●", suspect: "◐", unreachable: "◌", dead: "✕", left: "○", removed: "⊘" };

function fill(id, heads, rows) {
  const table = document.getElementById(id);
  const line = (tag, cells) => {
    const row = document.createElement("tr");
    for (const [text, kind] of cells) {
      const cell = document.createElement(tag);
      cell.textContent = text;
      if (kind) cell.className = kind;
      row.append(cell);
    }
    return row;
  };
  table.replaceChildren(line("th", heads.map(head => [head])), ...rows.map(row => line("td", row)));
}

async function everyMember() {
  let members = [], view, cursor;
  do {
    const next = cursor ? "&cursor=" + encodeURIComponent(cursor) : "";
    const page = await (await fetch("/v1/members?dc=*" + next)).json();
    members = members.concat(page.members);
    view = page.view;
    cursor = page.next_cursor;
  } while (cursor);
  return { members, view };
}

async function read() {
  const note = document.getElementById("view");
  try {
    const datacenters = (await (await fetch("/v1/datacenters")).json()).datacenters;
    fill("datacenters", ["name", "region", "reachability", "age", "alive", "members", "seats", "attested"],
      datacenters.map(dc => [[dc.name], [dc.region ?? "-"], [dc.reachability, dc.reachability],
        [dc.age_ms === null ? "never heard" : (dc.age_ms / 1000).toFixed(1) + " s"], [dc.counts.alive], [dc.members], [dc.elected + " of " + dc.seats],
        [dc.attested ? "yes" : "no"]]));
    const { members, view } = await everyMember();
    fill("members", ["name", "status", "role", "datacenter", "zone", "rack", "address", "since"],
      members.map(m => [[m.name], [glyph[m.status] + " " + m.status, m.status], [m.role + (m.elected ? "*" : "")],
        [m.datacenter], [m.zone], [m.rack], [m.address], [m.since]]));
    const missing = view.partial.length ? " Not asked: " + view.partial.join(", ") + "." : "";
    note.textContent = `View of ${view.viewer} (${view.viewer_datacenter}), ${new Date().toLocaleTimeString()}.${missing}`;
  } catch (error) {
    note.textContent = "This node does not answer: " + error.message;
  }
  setTimeout(read, 2000);
}
read();
