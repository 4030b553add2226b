//! What operators decide, and whom they tell.

use crate::{trust::Claimant, world::World};

use pelago_proto::{
    federation::{HandedIn, HandedList, ListError, RemovalError, Tier},
    identity::{Label, Role},
    trust::Trust,
    wire::{Frame, Item},
};
use std::sync::Arc;

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

    /// A node's authority revokes its certificate, and somebody hands the list to `teller`. Returns the list.
    ///
    /// # Panics
    ///
    /// If `teller` does not take it.
    pub fn revoke(&mut self, name: &str, teller: &str, number: u64) -> Arc<[u8]> {
        let list = self.revocation(&[name], number);
        self.must_take(&list, teller);
        list
    }

    /// The root revokes a datacenter's authority, and somebody hands its list to `teller`.
    ///
    /// # Panics
    ///
    /// If `teller` does not take it.
    pub fn revoke_datacenter(&mut self, datacenter: &str, teller: &str, number: u64) {
        let label = Label::new(datacenter).expect("a name");
        let list = self.realm.root_list(&[label], number);
        self.must_take(&list, teller);
    }

    /// A list that revokes the certificates of these nodes, all of one datacenter.
    pub fn revocation(&self, names: &[&str], number: u64) -> Arc<[u8]> {
        let serials = names.iter().map(|name| self.serial(name));
        let datacenter = &self.slots[self.host(names[0])].who.datacenter;
        self.realm
            .authority(datacenter, &serials.collect(), number)
            .crl
    }

    /// A list of so many bytes that revokes a node's certificate, and many that nobody has.
    pub fn large_revocation(&self, name: &str, number: u64, bytes: usize) -> Arc<[u8]> {
        let (host, serial) = (self.host(name), self.serial(name));
        let others = (0..bytes / serial.len()).map(|n| (n as u128).to_be_bytes());
        let serials = others.chain([serial]).collect();
        let datacenter = &self.slots[host].who.datacenter;
        self.realm.authority(datacenter, &serials, number).crl
    }

    fn serial(&self, name: &str) -> [u8; 16] {
        let certified = self.certified(self.host(name));
        let serial = certified.and_then(|certified| (*certified.serial).try_into().ok());
        serial.expect("the world's own certificates have serials of 16 bytes")
    }

    /// A member pushes a list to another, whatever it is.
    pub fn push_list(&mut self, from: &str, to: &str, list: &[u8]) {
        let frame = Frame::List { crl: list.into() };
        let (from, to) = (self.host(from), self.host(to));
        crate::hunt::send(self, from, to, Tier::Lan, frame.encode());
    }

    /// How many lists' signatures a node's process has checked.
    pub fn lists_judged(&self, name: &str) -> u64 {
        let process = self.slots[self.host(name)].process.as_ref();
        process.map_or(0, |process| process.trust.listed())
    }

    /// Hands a list to a node, as somebody does who carries it there.
    pub fn hand_in_list(&mut self, list: &[u8], teller: &str) -> Result<HandedList, ListError> {
        let now = self.now;
        let host = self.host(teller);
        let process = self.slots[host]
            .awake()
            .unwrap_or_else(|| panic!("{teller} does not run"));
        let taken = process.federation.hand_in_list(list, now);
        self.drive(host);
        taken
    }

    fn must_take(&mut self, list: &[u8], teller: &str) {
        if let Err(error) = self.hand_in_list(list, teller) {
            panic!("{teller} does not take the list: {error}");
        }
    }

    /// Whether a node holds this list, or a newer one of the same issuer.
    pub fn holds_list(&self, name: &str, list: &[u8]) -> bool {
        let process = self.slots[self.host(name)].process.as_ref();
        process.is_some_and(|process| {
            process
                .trust
                .weigh_list(list)
                .is_ok_and(|weighed| !weighed.is_news())
        })
    }
}
