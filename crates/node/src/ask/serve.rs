//! Answering other nodes' questions.

use super::{
    Asker,
    local::elected,
    wire::{self, AskError, AskStream, Frame, Question},
};
use crate::FindError;
use pelago_proto::{federation::Tier, identity::Role};
use quinn::VarInt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Longest word to search for.
const NEEDLE: usize = 256;

/// Answers until the node stops. How many are answered at a time is bounded by the streams that may be open.
pub(crate) async fn serve(
    asker: Asker,
    mut asks: mpsc::Receiver<AskStream>,
    stop: CancellationToken,
) {
    loop {
        let ask = tokio::select! {
            () = stop.cancelled() => return,
            ask = asks.recv() => ask,
        };
        let Some(ask) = ask else { return };
        let asker = asker.clone();
        tokio::spawn(async move {
            let mut ask = ask;
            if let Err(error) = one(&asker, &mut ask).await {
                tracing::debug!(peer = %ask.peer.certified.name, %error, "question not answered");
                let _ = ask.send.reset(VarInt::from_u32(1));
            }
        });
    }
}

async fn one(asker: &Asker, ask: &mut AskStream) -> Result<(), AskError> {
    let question: Question = wire::decode(&ask.body)?;
    let frames = match question {
        Question::View { scope } => {
            let given = super::Given {
                parts: vec![super::part_of(&asker.view(), &scope)],
                partial: Vec::new(),
            };
            wire::frames(&given, asker.clock.now())
        }
        // Other datacenters ask us for what we know, never to run errands.
        Question::Gather { .. } if ask.tier == Tier::Wan => return Err(AskError::Malformed),
        Question::Gather { mode, scope, relay } => {
            if asker.view().role == Role::Client {
                return Err(AskError::Malformed);
            }
            let given = asker.gather(mode, &scope, relay).await;
            wire::frames(&given, asker.clock.now())
        }
        Question::Why { needle } if needle.len() > NEEDLE => return Err(AskError::TooLarge),
        Question::Why { needle } => vec![match asker.why(&needle, false).await {
            Ok(evidence) => Frame::Evidence {
                at: asker.clock.now(),
                evidence: Box::new(evidence),
            },
            Err(FindError::Ambiguous(candidates)) => Frame::Ambiguous(candidates),
            Err(FindError::None) => Frame::Nobody,
        }],
        Question::Links { everyone } => {
            let mut links = asker.own_links().await;
            if everyone && ask.tier == Tier::Lan && elected(&asker.view()) {
                links.extend(asker.links_of_others().await);
            }
            vec![Frame::Links(links)]
        }
    };
    wire::answer(&mut ask.send, frames).await
}
