//! What operators decide, and whom they tell.

use crate::{trust::Claimant, world::World};
use pelago_proto::{
    federation::{HandedIn, RemovalError},
    identity::{Label, Role},
    wire::Item,
};

impl World {
    /// An operator of a node's datacenter removes it and tells `teller`. Returns what was signed, to be told to others too.
    ///
    /// # Panics
    ///
    /// If `teller` does not take it.
    pub fn remove(&mut self, name: &str, teller: &str) -> Item {
        let datacenter = self.slots[self.host(name)].who.datacenter.to_string();
        let removal = self.sign_removal(name, &datacenter);
        self.hand_in(&removal, teller).unwrap_or_else(|error| {
            panic!("{teller} does not take the removal of {name}: {error}")
        });
        removal
    }

    /// An operator of a datacenter signs that a node may not return while a certificate of today could be valid.
    pub fn sign_removal(&mut self, name: &str, datacenter: &str) -> Item {
        let slot = &self.slots[self.host(name)];
        let operator = Claimant {
            datacenter: Label::new(datacenter).expect("a name"),
            name: Label::new("operator").expect("a name"),
            role: Role::Operator,
            ..slot.who.clone()
        };
        let end = self.certificate_end();
        let operator = self.realm.identity(&operator, end);
        self.realm.removal(&operator, slot.id, end)
    }

    /// Hands a removal to a node, as somebody does who carries it there.
    pub fn hand_in(&mut self, removal: &Item, teller: &str) -> Result<HandedIn, RemovalError> {
        let now = self.now;
        let host = self.host(teller);
        let process = self.slots[host]
            .awake()
            .unwrap_or_else(|| panic!("{teller} does not run"));
        let taken = process.federation.hand_in_removal(removal, now);
        self.drive(host);
        taken
    }
}
