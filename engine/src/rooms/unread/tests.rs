//! Random rooms and a reader: what is unread is what a list of events and a few marks say.

use std::{collections::BTreeMap, sync::Arc};

use proptest::prelude::*;
use ruma::push::{Action, HighlightTweakValue, RuleKind, Tweak};
use serde_json::{Value, json};
use starling_storage::{Change, Fact, unread::Numbers};

use super::{MAIN, Unread, count};
use crate::{
    accounts::data,
    admin::{
        history::{self, Until},
        tasks,
    },
    events::Pdu,
    push::change::{self, NewRule},
    reading::stage::{ALICE, BOB, Stage, on_stage, user},
    rooms::{
        receipts::{self, Kind, Receipt},
        testing::{Draft, draft},
    },
    test_support::engine_on,
    testing::NoServers,
};

const CAROL: &str = "@carol:a.org";

#[derive(Clone, Debug)]
enum Step {
    /// Somebody says something, in a thread of an earlier event or none.
    Say { sender: usize, thread: Option<usize>, what: What },
    /// Bob has read up to an event, in its thread or everywhere, and tells others or does not.
    Read { event: usize, threaded: bool, private: bool },
    /// Alice redacts an event.
    Redact(usize),
    /// Bob does something to his rules.
    Rules(Rules),
    /// Everything before an event is purged.
    Purge(usize),
    /// So much happens elsewhere.
    Elsewhere(usize),
    /// The server starts anew.
    Restart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Text,
    Notice,
    Mention,
    RoomMention,
    Cake,
    /// A reaction to the event after whose thread the step is named.
    Reaction,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rules {
    Mute,
    Unmute,
    Cake,
    IgnoreCarol,
    MutedElsewhere,
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        4 => Just(What::Text),
        1 => Just(What::Notice),
        1 => Just(What::Mention),
        1 => Just(What::RoomMention),
        1 => Just(What::Cake),
        1 => Just(What::Reaction),
    ];
    let rules = prop_oneof![
        Just(Rules::Mute),
        Just(Rules::Unmute),
        Just(Rules::Cake),
        Just(Rules::IgnoreCarol),
        Just(Rules::MutedElsewhere),
    ];
    let say = (0_usize..5, proptest::option::of(any::<usize>()), what)
        .prop_map(|(sender, thread, what)| Step::Say { sender, thread, what });
    let read = (any::<usize>(), any::<bool>(), any::<bool>())
        .prop_map(|(event, threaded, private)| Step::Read { event, threaded, private });
    prop_oneof![
        10 => say,
        4 => read,
        2 => any::<usize>().prop_map(Step::Redact),
        2 => rules.prop_map(Step::Rules),
        1 => any::<usize>().prop_map(Step::Purge),
        3 => (0_usize..200).prop_map(Step::Elsewhere),
        1 => Just(Step::Restart),
    ]
}

/// An event as the model knows it.
struct Said {
    pdu: Arc<Pdu>,
    thread: String,
    numbers: Numbers,
}

/// What is known without any running number.
#[derive(Default)]
struct Model {
    said: Vec<Said>,
    /// How many of them are purged.
    purged: usize,
    /// How many events of `said` were read, by thread; `""`: in all of them.
    marks: BTreeMap<String, usize>,
    muted: bool,
    cake: bool,
    ignores_carol: bool,
}

impl Model {
    fn expected(&self) -> Unread {
        let mut unread = Unread::default();
        let read = |thread: &str| self.marks.get(thread).copied().unwrap_or(0);
        for (index, said) in self.said.iter().enumerate() {
            if index < read("").max(read(&said.thread)) {
                continue;
            }
            let numbers = match said.thread.as_str() {
                MAIN => &mut unread.main,
                thread => unread.threads.entry(thread.to_owned()).or_default(),
            };
            numbers.notify += said.numbers.notify;
            numbers.highlight += said.numbers.highlight;
        }
        unread.threads.retain(|_, numbers| *numbers != Numbers::default());
        unread
    }

    /// The index of one that is still there.
    fn index(&self, at: usize) -> Option<usize> {
        Some(self.purged + at.checked_rem(self.said.len() - self.purged)?)
    }

    fn read(&mut self, thread: &str, index: usize) {
        let mark = self.marks.entry(thread.to_owned()).or_default();
        *mark = (*mark).max(index + 1);
    }

    /// What an event does to Bob.
    fn numbers(&self, sender: &str, what: What) -> Numbers {
        let numbers = |notify, highlight| Numbers { notify, highlight };
        if sender == BOB || (sender == CAROL && self.ignores_carol) {
            return numbers(0, 0);
        }
        match what {
            What::Notice | What::Reaction => numbers(0, 0),
            What::Mention => numbers(1, 1),
            What::RoomMention if sender == ALICE => numbers(1, 1),
            What::Cake if self.cake => numbers(1, 1),
            _ if self.muted => numbers(0, 0),
            _ => numbers(1, 0),
        }
    }
}

fn content(what: What, about: Option<(&str, &str)>) -> (&'static str, Value) {
    let mut content = match what {
        What::Text => json!({ "msgtype": "m.text", "body": "x" }),
        What::Notice => json!({ "msgtype": "m.notice", "body": "x" }),
        What::Mention => json!({ "msgtype": "m.text", "m.mentions": { "user_ids": [BOB] } }),
        What::RoomMention => json!({ "msgtype": "m.text", "m.mentions": { "room": true } }),
        What::Cake => json!({ "msgtype": "m.text", "body": "have some CAKE!" }),
        What::Reaction => json!({}),
    };
    if let Some((rel_type, event_id)) = about {
        content["m.relates_to"] = json!({ "rel_type": rel_type, "event_id": event_id, "key": "+" });
    }
    (if what == What::Reaction { "m.reaction" } else { "m.room.message" }, content)
}

async fn say(stage: &mut Stage, model: &mut Model, sender: usize, to: Option<usize>, what: What) {
    let sender = [ALICE, ALICE, CAROL, CAROL, BOB][sender];
    let about = to.and_then(|to| model.said.get(model.index(to)?));
    let about = about.map(|said| (said.pdu.event_id.to_string(), said.thread.clone()));
    let (thread, about) = match about {
        None => (MAIN.to_owned(), None),
        Some((id, thread)) if what == What::Reaction => (thread, Some(("m.annotation", id))),
        // A thread hangs on an event that is in none.
        Some((id, thread)) if thread == MAIN => (id.clone(), Some(("m.thread", id))),
        Some((_, thread)) => (thread.clone(), Some(("m.thread", thread))),
    };
    let (kind, content) = content(what, about.as_ref().map(|(kind, id)| (*kind, id.as_str())));
    let draft = Draft { state_key: None, ..draft(kind, sender, "", content) };
    let pdu = stage.send(draft).await;
    let numbers = model.numbers(sender, what);
    let index = model.said.len();
    if sender == BOB {
        model.read(if thread == MAIN { "" } else { &thread }, index);
    }
    model.said.push(Said { pdu, thread, numbers });
}

async fn set_rules(stage: &Stage, model: &mut Model, what: Rules) {
    let bob = user(BOB);
    let room = stage.room.room_id.as_str();
    let highlight = Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes));
    let rule = |kind, id: &str, actions, pattern: &str| NewRule {
        kind,
        rule_id: id.to_owned(),
        actions,
        conditions: vec![],
        pattern: pattern.to_owned(),
        before: None,
        after: None,
    };
    let put = async |rule| change::put(&stage.engine, &bob, &rule).await.unwrap();
    match what {
        Rules::Mute => put(rule(RuleKind::Room, room, vec![], "")).await,
        Rules::MutedElsewhere => put(rule(RuleKind::Room, "!other:a.org", vec![], "")).await,
        Rules::Cake => {
            put(rule(RuleKind::Content, "c", vec![Action::Notify, highlight], "cake")).await
        }
        Rules::Unmute => {
            let _ = change::remove(&stage.engine, &bob, &RuleKind::Room, room).await;
        }
        Rules::IgnoreCarol => {
            let list = json!({ "ignored_users": { CAROL: {} } }).to_string();
            data::set(&stage.engine, &bob, None, "m.ignored_user_list", list).await.unwrap();
        }
    }
    model.muted = (model.muted && what != Rules::Unmute) || what == Rules::Mute;
    model.cake |= what == Rules::Cake;
    model.ignores_carol |= what == Rules::IgnoreCarol;
}

async fn act(stage: &mut Stage, model: &mut Model, step: &Step) {
    let event = |at: usize| model.index(at);
    match step {
        Step::Say { sender, thread, what } => say(stage, model, *sender, *thread, *what).await,
        Step::Rules(what) => set_rules(stage, model, *what).await,
        Step::Restart => {
            let storage = stage.engine.storage.clone();
            stage.engine = engine_on(storage, "a.org", Arc::new(NoServers)).await;
        }
        Step::Elsewhere(facts) => {
            let mut change = Change::default();
            for _ in 0..*facts {
                change.fact(Fact::State { room_id: "!elsewhere:a.org".to_owned() });
            }
            stage.engine.storage.commit(change).await.unwrap();
        }
        Step::Purge(at) => {
            let Some(index) = event(*at) else { return };
            let (engine, room) = (&stage.engine, &stage.room.room_id);
            let until = Until::Event(model.said[index].pdu.event_id.clone());
            history::schedule(engine, room, until, true).await.unwrap();
            tasks::do_all(engine, &mut tasks::Held::default()).await.unwrap();
            model.purged = index;
            for said in &mut model.said[..index] {
                said.numbers = Numbers::default();
            }
        }
        Step::Redact(at) => {
            let Some(index) = event(*at) else { return };
            let redacts = json!({ "redacts": model.said[index].pdu.event_id });
            let draft = draft("m.room.redaction", ALICE, "", redacts);
            stage.send(Draft { state_key: None, ..draft }).await;
            model.said[index].numbers = Numbers::default();
        }
        Step::Read { event: at, threaded, private } => {
            let Some(index) = event(*at) else { return };
            let said = &model.said[index];
            let thread = threaded.then(|| said.thread.clone());
            let receipt = Receipt {
                kind: if *private { Kind::Private } else { Kind::Read },
                event_id: said.pdu.event_id.clone(),
                thread_id: thread.clone(),
            };
            let room = &stage.room.room_id;
            receipts::send(&stage.engine, room, &user(BOB), &[receipt]).await.unwrap();
            model.read(&thread.unwrap_or_default(), index);
        }
    }
}

async fn run(mut stage: Stage, steps: &[Step]) {
    for member in [BOB, CAROL] {
        stage.member(member, member, "join").await;
    }
    let mut model = Model::default();
    let room = [stage.room.room_id.to_string()];
    for (number, step) in steps.iter().enumerate() {
        act(&mut stage, &mut model, step).await;
        let mut conn = stage.engine.storage.read().await.unwrap();
        let mut counts = count(&mut conn, &user(BOB), &room).await.unwrap();
        let unread = counts.remove(&room[0]).unwrap_or_default();
        assert_eq!(unread, model.expected(), "after step {number}, {step:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_is_unread_is_what_the_events_say(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(on_stage(async |stage| run(stage, &steps).await));
    }
}
