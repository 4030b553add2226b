//! A whole federation at once, as if it had run for long: for worlds too large to wait until everybody has joined.

use crate::world::World;
use pelago_proto::{identity::Label, wire::Bundle};
use std::collections::BTreeMap;

impl World {
    /// Starts everybody, each knowing what all members of its datacenter say of themselves, and servers what everybody
    /// says. They took it in as they would a peer's answer; what follows (introductions, elections, the WAN) is up to them.
    pub fn start_settled(&mut self) {
        let hosts = 0..self.slots.len();
        hosts.clone().for_each(|host| self.make_process(host));
        let mut said = BTreeMap::<Label, Vec<(usize, Bundle)>>::new();
        for (host, slot) in self.slots.iter().enumerate() {
            if let Some(process) = &slot.process {
                let of = said.entry(slot.who.datacenter.clone()).or_default();
                of.push((host, process.federation.own_bundle()));
            }
        }
        // In the order of ids every roster only grows at its end.
        let said: BTreeMap<Label, Vec<Bundle>> = said
            .into_iter()
            .map(|(datacenter, mut members)| {
                members.sort_by_key(|(host, _)| self.slots[*host].id);
                let bundles = members.into_iter().map(|(_, bundle)| bundle);
                (datacenter, bundles.collect())
            })
            .collect();
        for host in hosts {
            self.tell_everything(host, &said);
            self.drive(host);
        }
    }

    fn tell_everything(&mut self, host: usize, said: &BTreeMap<Label, Vec<Bundle>>) {
        let now = self.now;
        let slot = &mut self.slots[host];
        let Some(process) = &mut slot.process else {
            return;
        };
        let is_server = slot.settings.wan.is_some();
        for (datacenter, bundles) in said {
            if is_server || *datacenter == slot.who.datacenter {
                process.federation.adopt(bundles, now);
                while process.federation.poll_event().is_some() {}
            }
        }
        let wan = || slot.wan_seeds.clone();
        // Nobody need be asked for what is known already.
        process.federation.seeds(Vec::new(), wan(), now);
        process.federation.seeds(slot.lan_seeds.clone(), wan(), now);
    }
}
