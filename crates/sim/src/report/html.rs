//! Reports as one page that needs nothing but itself, readable in light and dark.

use super::{
    Report,
    plot::{Line, Plot, escape},
    table::{SPREAD_HEAD, count_rows, expectation_rows, number, spread_rows, traffic_rows},
};
use std::fmt::Write as _;

/// Points of a distribution's curve.
const STEPS: usize = 400;

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--ink:#1c2127;--soft:#5b6570;--rule:#d8dde3;--card:#f6f8fa;\
--good:#1a7f37;--bad:#b42318;\
--c0:#0b62a8;--c1:#c2410c;--c2:#15803d;--c3:#9333ea;--c4:#a16207;--c5:#0e7490;--c6:#be185d;--c7:#57606a}\
@media(prefers-color-scheme:dark){:root{--bg:#12161b;--ink:#e6e9ed;--soft:#9aa5b1;--rule:#333b45;--card:#1a2027;\
--good:#56d364;--bad:#ff8a80;\
--c0:#6cb6ff;--c1:#ffa057;--c2:#6bd968;--c3:#d2a8ff;--c4:#e3b341;--c5:#56d4dd;--c6:#ff9bce;--c7:#9aa5b1}}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:1180px;padding:24px 20px 48px;background:var(--bg);color:var(--ink);\
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}\
h1{font-size:26px;line-height:1.25;margin:0 0 6px}h2{font-size:18px;margin:32px 0 10px}\
p{margin:4px 0;max-width:80ch}.soft{color:var(--soft)}\
.grid-of-two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:16px}\
figure{margin:0;padding:12px;background:var(--card);border:1px solid var(--rule);border-radius:8px}\
figcaption{font-weight:600;margin-bottom:4px}\
svg{width:100%;height:auto;display:block}\
svg text{font-size:12px;fill:var(--soft);font-variant-numeric:tabular-nums}\
.grid{stroke:var(--rule);stroke-width:1}.mark{stroke:var(--soft);stroke-width:1;stroke-dasharray:2 3;opacity:.7}\
.line{fill:none;stroke-width:2;stroke-linejoin:round}.area{stroke:none;opacity:.85}\
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:6px 0 0;padding:0;font-size:13px;color:var(--soft)}\
.swatch{display:inline-block;width:12px;height:12px;border-radius:3px;margin-right:6px;vertical-align:-1px}\
.scroll{overflow-x:auto;margin-top:12px}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}\
th,td{padding:4px 14px 4px 0;text-align:right;border-bottom:1px solid var(--rule);white-space:nowrap}\
th{color:var(--soft);font-weight:600}th:first-child,td:first-child{text-align:left;white-space:normal}\
.met{color:var(--good);font-weight:600}.missed{color:var(--bad);font-weight:600}\
ol{padding-left:20px;margin:0;columns:2 420px;font-size:14px}li{break-inside:avoid}";

/// A report as a page.
pub fn page(report: &Report) -> String {
    let mut page = String::from("<!doctype html><html lang='en'><head><meta charset='utf-8'>");
    let _ = write!(
        page,
        "<meta name='viewport' content='width=device-width,initial-scale=1'><title>{}</title><style>{STYLE}",
        escape(&report.title)
    );
    for colour in 0..8 {
        let _ = write!(
            page,
            ".c{colour}{{stroke:var(--c{colour})}}.b{colour}{{fill:var(--c{colour});background:var(--c{colour})}}"
        );
    }
    let _ = write!(
        page,
        "</style></head><body><h1>{}</h1><p>{}</p>",
        escape(&report.title),
        escape(report.about.trim())
    );
    let datacenters: Vec<String> = report
        .datacenters
        .iter()
        .map(|(name, nodes)| format!("{} {}", escape(name), number(*nodes as f64)))
        .collect();
    let _ = write!(
        page,
        "<p class='soft'>{} nodes ({}) · {} s of virtual time · seed {}</p>",
        number(report.nodes() as f64),
        datacenters.join(", "),
        number(report.seconds),
        report.seed
    );
    if !report.expectations.is_empty() {
        page.push_str("<h2>Expected</h2>");
        table(
            &mut page,
            &["", "at most", "was", ""],
            &expectation_rows(report),
        );
    }
    page.push_str("<h2>Noticed and spread</h2>");
    if report.spreads.is_empty() {
        page.push_str(
            "<p class='soft'>Nothing happened to any node that others should notice.</p>",
        );
    } else {
        page.push_str("<div class='grid-of-two'>");
        spread_plots(report)
            .into_iter()
            .for_each(|plot| page.push_str(&plot.figure()));
        page.push_str("</div>");
        table(&mut page, &SPREAD_HEAD, &spread_rows(report));
    }
    page.push_str("<h2>Over time</h2><div class='grid-of-two'>");
    time_plots(report)
        .into_iter()
        .for_each(|plot| page.push_str(&plot.figure()));
    page.push_str("</div><h2>Counted</h2><div class='grid-of-two'><div>");
    table(&mut page, &["", "count"], &count_rows(report));
    page.push_str("</div><div>");
    table(
        &mut page,
        &["sent", "B/node/s", "packets/node/s"],
        &traffic_rows(report),
    );
    page.push_str("</div></div>");
    if !report.timeline.is_empty() {
        page.push_str("<h2>What happened</h2><ol>");
        for done in &report.timeline {
            let _ = write!(page, "<li>{:.1} s: {}</li>", done.at, escape(&done.what));
        }
        page.push_str("</ol>");
    }
    page.push_str("</body></html>\n");
    page
}

fn table(page: &mut String, head: &[&str], rows: &[Vec<String>]) {
    page.push_str("<div class='scroll'><table><thead><tr>");
    for cell in head {
        let _ = write!(page, "<th>{}</th>", escape(cell));
    }
    page.push_str("</tr></thead><tbody>");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            let class = match cell.as_str() {
                "met" => " class='met'",
                "MISSED" => " class='missed'",
                _ => "",
            };
            let _ = write!(page, "<td{class}>{}</td>", escape(cell));
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div>");
}

/// Distributions over observers, and over repetitions.
fn spread_plots(report: &Report) -> Vec<Plot> {
    let shown = || report.spreads.iter().filter(|one| !one.each.is_empty());
    let line = |name: String, cdf: &super::Cdf| Line {
        name,
        points: cdf
            .steps(STEPS)
            .into_iter()
            .map(|(ms, share)| (ms, share * 100.0))
            .collect(),
    };
    let of_each = shown().map(|one| line(one.name(), &one.each)).collect();
    let mut plots = vec![Plot {
        title: "When observers noticed".to_owned(),
        x: "milliseconds since it happened",
        y: "observers, %",
        lines: of_each,
        log: true,
        top: Some(100.0),
        steps: true,
        ..Plot::default()
    }];
    if shown().any(|one| one.times > 1) {
        let lines = shown().map(|one| line(one.name(), &one.most)).collect();
        plots.push(Plot {
            title: "When 99 % of observers had noticed, over all times that it happened".to_owned(),
            x: "milliseconds since it happened",
            y: "times, %",
            lines,
            log: true,
            top: Some(100.0),
            steps: true,
            ..Plot::default()
        });
    }
    plots
}

fn time_plots(report: &Report) -> Vec<Plot> {
    let over = |name: &str, value: &dyn Fn(&super::Point) -> f64| Line {
        name: name.to_owned(),
        points: report
            .series
            .iter()
            .map(|point| (point.at, value(point)))
            .collect(),
    };
    let marks: Vec<(f64, String)> = report
        .timeline
        .iter()
        .map(|done| (done.at, done.what.clone()))
        .collect();
    let plot = |title: &str, y, lines| Plot {
        title: title.to_owned(),
        x: "seconds",
        y,
        lines,
        marks: marks.clone(),
        ..Plot::default()
    };
    let bytes = report
        .traffic
        .iter()
        .enumerate()
        .filter(|(_, sent)| sent.packets > 0.0)
        .map(|(kind, sent)| {
            over(sent.kind, &|point| {
                point.bytes.get(kind).copied().unwrap_or(0.0)
            })
        })
        .collect();
    vec![
        Plot {
            top: Some(100.0),
            ..plot(
                "Convergence",
                "views that are true, %",
                vec![over("views without a fault", &|point| {
                    100.0 * point.complete
                })],
            )
        },
        plot(
            "Divergence",
            "wrong pairs, %",
            vec![over(
                "pairs of observer and member that differ from the truth",
                &|point| 100.0 * point.divergence,
            )],
        ),
        Plot {
            stacked: true,
            ..plot("Sent, by kind", "bytes a second and node", bytes)
        },
        plot(
            "Reported",
            "reports since the last look",
            vec![
                over("suspicions", &|point| point.suspicions as f64),
                over("deaths", &|point| point.deaths as f64),
                over("seats taken or given up", &|point| point.seats as f64),
            ],
        ),
    ]
}
