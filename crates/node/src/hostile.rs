//! Strings on a running node, for tests of hostile members: what it sends and answers can be changed, and anything at all be
//! sent with its keys. Only compiled with the feature `hostile`, which changes nothing else.

use crate::{
    Node,
    driver::Driver,
    inputs::{Command, Input},
    quic::HANDSHAKE,
};
use pelago_proto::{
    federation::{Federation, Path, RequestError, Tier, Transmit},
    identity::NodeId,
    time::Time,
    trust::Trust,
    view::{Member, View},
};
use std::{fmt, sync::Arc};

type Says = dyn FnMut(Transmit) -> Option<Transmit> + Send;
type Answers = dyn FnMut(Tier, &[u8], Vec<u8>) -> Vec<u8> + Send;

/// What a node does to its own words before they leave. Nothing, unless told.
#[derive(Default)]
pub(crate) struct Mask {
    says: Option<Box<Says>>,
    answers: Option<Box<Answers>>,
}

impl Mask {
    pub(crate) fn says(&mut self, transmit: Transmit) -> Option<Transmit> {
        match &mut self.says {
            Some(says) => says(transmit),
            None => Some(transmit),
        }
    }

    pub(crate) fn answers(&mut self, tier: Tier, asked: &[u8], answer: Vec<u8>) -> Vec<u8> {
        match &mut self.answers {
            Some(answers) => answers(tier, asked, answer),
            None => answer,
        }
    }
}

/// Something to do on the protocol task.
pub(crate) struct Act(Box<dyn FnOnce(&mut Strings<'_>) + Send>);

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Act")
    }
}

impl Act {
    pub(crate) fn run(self, driver: &mut Driver, now: Time) {
        self.0(&mut Strings { driver, now });
    }
}

/// The protocol of one node while it is held still.
pub struct Strings<'a> {
    driver: &'a mut Driver,
    now: Time,
}

impl fmt::Debug for Strings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Strings")
    }
}

impl Strings<'_> {
    /// The protocol as it stands.
    pub fn federation(&self) -> &Federation {
        &self.driver.federation
    }

    /// Its key and certificate.
    pub fn trust(&self) -> &dyn Trust {
        &*self.driver.lan.trust
    }

    /// What it knows.
    pub fn view(&mut self) -> Arc<View> {
        self.driver.federation.view(self.now)
    }

    /// Sends these bytes as if the protocol had; `false` if there is no way to that member.
    pub fn say(&mut self, tier: Tier, to: &Member, payload: impl Into<Arc<[u8]>>) -> bool {
        let (address, key) = match tier {
            Tier::Lan => (
                Some(to.address),
                self.driver.federation.lan_key(to.id).unwrap_or_default(),
            ),
            Tier::Wan => (to.wan_address, [0; 32]),
        };
        let Some(address) = address else {
            return false;
        };
        self.driver.transmit(Transmit {
            tier,
            to: to.id,
            address,
            key,
            introduction: None,
            path: Path::Main,
            payload: payload.into(),
        });
        true
    }

    /// From now on every datagram of the protocol passes through this.
    pub fn speak_through(
        &mut self,
        says: impl FnMut(Transmit) -> Option<Transmit> + Send + 'static,
    ) {
        self.driver.state.mask.says = Some(Box::new(says));
    }

    /// From now on every answer passes through this: pool, question, honest answer.
    pub fn answer_through(
        &mut self,
        answers: impl FnMut(Tier, &[u8], Vec<u8>) -> Vec<u8> + Send + 'static,
    ) {
        self.driver.state.mask.answers = Some(Box::new(answers));
    }
}

impl Node {
    /// Does this on the protocol task; `None` if the node stops meanwhile.
    pub async fn act<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Strings<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = tokio::sync::oneshot::channel();
        let act = Act(Box::new(move |strings| {
            // Whoever wanted it may be gone.
            let _ = done.send(act(strings));
        }));
        let command = Input::Command(Command::Act(act));
        self.shared().inputs.send(command).await.ok()?;
        result.await.ok()
    }

    /// Asks a member anything over a stream, with this node's certificate.
    pub async fn put(
        &self,
        tier: Tier,
        to: NodeId,
        address: std::net::SocketAddr,
        question: &[u8],
    ) -> Result<Vec<u8>, RequestError> {
        let quic = match tier {
            Tier::Lan => Some(&self.shared().lan),
            Tier::Wan => self.shared().wan.as_ref(),
        };
        let quic = quic.ok_or_else(|| RequestError::NoAnswer("not on the WAN".into()))?;
        let answer = quic.request(Some(to), address, question, HANDSHAKE).await;
        answer.map(|(_, body)| body)
    }
}
