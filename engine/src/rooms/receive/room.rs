//! The events of one room that came in one transaction, in their order.
//!
//! What can be judged at once is written in one change. Where something is missing, the room is let
//! go of while other servers are asked, and then taken up again.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use ruma::{OwnedEventId, RoomId, ServerName};
use serde_json::value::RawValue;

use super::{
    Budget, Results,
    fetch::{Events, Peer},
    gaps::{self, ClaimedState},
    intake,
    judge::{self, Judged},
    outliers, outside,
};
use crate::{
    Engine,
    events::{Pdu, store},
    internal::Internal,
    rooms::{
        append::{self, Disposition, NewEvent},
        batch::{Batch, BatchError, MAX_ATTEMPTS},
        policy::{self, PolicyError, PolicyServer},
        room,
        serve::access,
    },
};

/// How many times in a row the events before an event are asked for before its state is.
const GAP_ROUNDS: u8 = 6;
/// How many events may wait in line for one room, those included that filled gaps.
const MAX_LINE: usize = 500;

/// An event in line.
#[derive(Debug)]
struct Work {
    pdu: Arc<Pdu>,
    /// How often what comes before it may still be asked for.
    rounds: u8,
    /// What the server said about the state before it.
    claimed: Option<ClaimedState>,
    /// Events that authorise it, once they were asked for.
    auth: Option<Events>,
    /// Whether the room's policy server was asked to sign it.
    policy_asked: bool,
}

/// What an event at the head of the line lacks.
#[derive(Debug)]
enum Need {
    Before,
    Auth,
    Signature(PolicyServer),
}

/// Receives events that a server sent for a room, and says what became of each.
///
/// # Errors
///
/// When our own database fails; some of the events may be written then.
pub async fn receive(
    engine: &Engine,
    origin: &ServerName,
    room_id: &RoomId,
    pdus: &[Box<RawValue>],
) -> Result<Results, Internal> {
    let version = store::room_version(engine, room_id).await?;
    let inside = access::is_in_room(engine, room_id, &engine.config.server_name).await?;
    let Some(version) = version.filter(|_| inside) else {
        return outside::receive(engine, origin, room_id, pdus).await;
    };
    let taken = intake::take(engine, room_id, &version.1, pdus).await?;
    let mut results = Results::new();
    let mut line = VecDeque::new();
    let refusal = match access::acl_allows(engine, room_id, origin).await? {
        true => None,
        false => Some("The room's server ACL does not allow your server"),
    };
    for outcome in taken {
        match (outcome, refusal) {
            (Ok(pdu), None) => line.push_back(Work::new(pdu, GAP_ROUNDS)),
            (Ok(pdu), Some(reason)) => {
                results.insert(pdu.event_id.clone(), Err(reason.to_owned()));
            }
            (Err(refused), _) => {
                if let Some(event_id) = refused.event_id {
                    results.insert(event_id, Err(refused.reason));
                }
            }
        }
    }
    let in_line = line.iter().map(|work: &Work| &work.pdu.event_id);
    let sent: HashSet<OwnedEventId> = in_line.chain(results.keys()).cloned().collect();
    let peer = Peer { engine, server: origin, room_id, rules: &version.1 };
    drain(&peer, in_order(line), &mut results).await?;
    // What filled gaps is not answered for.
    results.retain(|event_id, _| sent.contains(event_id));
    Ok(results)
}

impl Work {
    fn new(pdu: Arc<Pdu>, rounds: u8) -> Self {
        Self { pdu, rounds, claimed: None, auth: None, policy_asked: false }
    }
}

/// Puts events behind those of the same transaction that they follow; else they stay as they came.
fn in_order(line: VecDeque<Work>) -> VecDeque<Work> {
    let mut waiting: HashMap<OwnedEventId, Work> = HashMap::new();
    let mut stack: Vec<(OwnedEventId, bool)> = Vec::new();
    for work in line {
        stack.push((work.pdu.event_id.clone(), false));
        waiting.insert(work.pdu.event_id.clone(), work);
    }
    stack.reverse();
    let (mut ordered, mut entered) = (VecDeque::new(), HashSet::new());
    while let Some((event_id, left)) = stack.pop() {
        if left {
            ordered.extend(waiting.remove(&event_id));
        } else if let Some(work) = waiting.get(&event_id)
            && entered.insert(event_id.clone())
        {
            stack.push((event_id, true));
            stack.extend(work.pdu.prev_events.iter().map(|prev| (prev.clone(), false)));
        }
    }
    ordered
}

async fn drain(
    peer: &Peer<'_>,
    mut line: VecDeque<Work>,
    results: &mut Results,
) -> Result<(), Internal> {
    let mut budget = Budget::default();
    while let Some(need) = advance(peer, &mut line, results).await? {
        let Some(mut work) = line.pop_front() else { break };
        let filled = match need {
            Need::Before => {
                let mut filled = fill(peer, &mut budget, &mut work, line.len()).await?;
                // What was dropped once would be dropped again, as often as it is told.
                if let Filled::Before(events) = &mut filled {
                    events.retain(|event| !matches!(results.get(&event.event_id), Some(Err(_))));
                    if events.is_empty() {
                        filled = jump(peer, &mut budget, &mut work).await?;
                    }
                }
                filled
            }
            Need::Auth => authorise(peer, &mut budget, &mut work).await?,
            Need::Signature(server) => {
                ask_for_signature(peer, &mut budget, &mut work, &server).await?
            }
        };
        match filled {
            Filled::Before(events) => {
                let rounds = work.rounds;
                // What was in line already is wanted earlier now.
                let earlier = |it: &Work| events.iter().any(|e| e.event_id == it.pdu.event_id);
                line.retain(|it| !earlier(it));
                line.push_front(work);
                for pdu in events.into_iter().rev() {
                    line.push_front(Work::new(pdu, rounds));
                }
            }
            Filled::Work => line.push_front(work),
            Filled::Nothing(reason) => {
                tracing::info!(event.id = %work.pdu.event_id, reason, "An event is dropped");
                results.insert(work.pdu.event_id.clone(), Err(reason.to_owned()));
            }
        }
    }
    Ok(())
}

/// Writes what can be judged from the head of the line on, and says what the new head needs.
async fn advance(
    peer: &Peer<'_>,
    line: &mut VecDeque<Work>,
    results: &mut Results,
) -> Result<Option<Need>, Internal> {
    if line.is_empty() {
        return Ok(None);
    }
    let Some(mut guard) = room::lock(peer.engine, peer.room_id).await? else { return Ok(None) };
    for _ in 0..MAX_ATTEMPTS {
        let mut batch = Batch::new(peer.engine, &guard);
        let (mut fates, mut need) = (Vec::new(), None);
        for work in line.iter() {
            match judge_work(&mut batch, work).await? {
                Judged::Known => fates.push((work.pdu.event_id.clone(), Ok(()))),
                Judged::Ready(mut new) => {
                    if let Some(server) = lacks_signature(&batch, &new).await? {
                        if !work.policy_asked {
                            need = Some(Need::Signature(server));
                            break;
                        }
                        new.disposition = Disposition::SoftFailed;
                    }
                    // One that the rules reject is dealt with too: others are judged by it.
                    fates.push((work.pdu.event_id.clone(), Ok(())));
                    append::append(&mut batch, new).await?;
                }
                Judged::MissingPrev(_) => need = Some(Need::Before),
                Judged::MissingAuth(_) => need = Some(Need::Auth),
            }
            if need.is_some() {
                break;
            }
        }
        if !fates.is_empty() {
            match batch.commit(&mut guard).await {
                Ok(_) => {}
                Err(BatchError::Conflict) => continue,
                Err(BatchError::Internal(error)) => return Err(error),
                Err(error) => return Err(Internal::Damaged(error.to_string())),
            }
        }
        line.drain(..fates.len());
        results.extend(fates);
        return Ok(need);
    }
    Err(Internal::Damaged(format!("{} changes too fast", peer.room_id)))
}

async fn judge_work(batch: &mut Batch, work: &Work) -> Result<Judged, Internal> {
    if let Some(auth) = &work.auth {
        outliers::add(batch, auth).await?;
    }
    let state_before = match &work.claimed {
        Some(claimed) => gaps::state_before(batch, &work.pdu, claimed).await?,
        None => None,
    };
    judge::judge(batch, &work.pdu, state_before).await
}

/// The policy server whose signature an event lacks that would be accepted otherwise.
async fn lacks_signature(batch: &Batch, new: &NewEvent) -> Result<Option<PolicyServer>, Internal> {
    if new.disposition != Disposition::Accepted {
        return Ok(None);
    }
    let server = policy::of(batch).await?;
    Ok(server.filter(|server| !server.lets_through(&new.pdu, batch.room.rules())))
}

/// What was found for an event that lacked something.
enum Filled {
    /// Events to be judged before it.
    Before(Vec<Arc<Pdu>>),
    /// It knows more now.
    Work,
    /// It cannot be judged.
    Nothing(&'static str),
}

/// Asks for what comes before an event; when that leads nowhere, for the state before it.
async fn fill(
    peer: &Peer<'_>,
    budget: &mut Budget,
    work: &mut Work,
    in_line: usize,
) -> Result<Filled, Internal> {
    if work.claimed.is_some() {
        return Ok(Filled::Nothing("The state before the event is not known"));
    }
    if work.rounds > 0 && in_line < MAX_LINE {
        work.rounds -= 1;
        let room = room::load(peer.engine, peer.room_id).await?;
        let known: Vec<_> = room.into_iter().flat_map(|room| room.extremities).collect();
        let mut events = gaps::events_before(peer, budget, &work.pdu, &known).await?;
        if events.len() < gaps::FEW {
            // The server would have given more if it had.
            work.rounds = 0;
        }
        let stored = store_known(peer, &events).await?;
        events.retain(|event| !stored.contains(&event.event_id));
        if !events.is_empty() {
            return Ok(Filled::Before(events));
        }
    }
    jump(peer, budget, work).await
}

/// Asks for the state before an event, instead of for the events.
async fn jump(peer: &Peer<'_>, budget: &mut Budget, work: &mut Work) -> Result<Filled, Internal> {
    work.rounds = 0;
    work.claimed = gaps::claimed_state(peer, budget, &work.pdu).await?;
    Ok(match work.claimed {
        Some(_) => Filled::Work,
        None => Filled::Nothing("The events before the event are not known"),
    })
}

/// Those of the events that are stored in their place already.
async fn store_known(
    peer: &Peer<'_>,
    events: &[Arc<Pdu>],
) -> Result<HashSet<OwnedEventId>, Internal> {
    let ids: Vec<_> = events.iter().map(|event| event.event_id.clone()).collect();
    let stored = store::get_many(peer.engine, peer.room_id, &ids).await?;
    let in_place = stored.into_iter().filter(|(_, event)| event.is_in_place());
    Ok(in_place.map(|(event_id, _)| event_id).collect())
}

/// Asks the room's policy server for its signature, which a server that knows no policy servers has not asked
/// for. An event without is soft-failed.
async fn ask_for_signature(
    peer: &Peer<'_>,
    budget: &mut Budget,
    work: &mut Work,
    server: &PolicyServer,
) -> Result<Filled, Internal> {
    work.policy_asked = true;
    if !budget.take() {
        return Ok(Filled::Work);
    }
    match policy::ask(peer.engine, server, &work.pdu, peer.rules).await {
        Ok(signed) => work.pdu = signed,
        Err(PolicyError::Internal(error)) => return Err(error),
        Err(error) => {
            // Who does not answer now is not asked again for each event of the transaction.
            if matches!(error, PolicyError::Unavailable) {
                budget.spend();
            }
            tracing::info!(event.id = %work.pdu.event_id, %error, "The policy server does not sign");
        }
    }
    Ok(Filled::Work)
}

/// Asks for the events that authorise an event.
async fn authorise(
    peer: &Peer<'_>,
    budget: &mut Budget,
    work: &mut Work,
) -> Result<Filled, Internal> {
    if work.auth.is_some() {
        return Ok(Filled::Nothing("The events that authorise the event are not known"));
    }
    work.auth = Some(peer.auth_chain(budget, &work.pdu.event_id).await?);
    Ok(Filled::Work)
}
