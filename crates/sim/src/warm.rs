//! A whole federation at once, as if it had run for long: for worlds too large to wait until everybody has joined.

use crate::world::World;
use pelago_proto::{identity::Label, wire::Bundle};
use std::collections::BTreeMap;

/// Members that everybody is told of before anybody is told of the next: what is read for them fits the caches.
const AT_ONCE: usize = 128;

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
        // Some at a time to everybody: what members have in common stays at hand, which is most of what there is to read.
        for (datacenter, bundles) in &said {
            for some in bundles.chunks(AT_ONCE) {
                for host in hosts.clone() {
                    self.tell(host, datacenter, some);
                }
            }
        }
        for host in hosts {
            self.begin_settled(host);
            self.drive(host);
        }
    }

    fn tell(&mut self, host: usize, datacenter: &Label, bundles: &[Bundle]) {
        let now = self.now;
        let slot = &mut self.slots[host];
        let Some(process) = &mut slot.process else {
            return;
        };
        if slot.settings.wan.is_some() || *datacenter == slot.who.datacenter {
            process.federation.adopt(bundles, now);
            while process.federation.poll_event().is_some() {}
        }
    }

    fn begin_settled(&mut self, host: usize) {
        let now = self.now;
        let slot = &mut self.slots[host];
        let Some(process) = &mut slot.process else {
            return;
        };
        let wan = || slot.wan_seeds.clone();
        // Nobody need be asked for what is known already.
        process.federation.seeds(Vec::new(), wan(), now);
        process.federation.seeds(slot.lan_seeds.clone(), wan(), now);
    }
}
