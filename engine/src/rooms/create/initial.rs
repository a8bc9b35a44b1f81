//! The state with which a room begins, in the order of the specification.

use ruma::{
    RoomAliasId,
    events::{StateEventType, TimelineEventType},
    room_version_rules::RoomVersionRules,
};
use serde_json::{
    Value, json,
    value::{RawValue, to_raw_value},
};

use super::{CreateError, CreateRoom, InitialState, Preset, power_levels};
use crate::{
    Engine,
    internal::Internal,
    rooms::{build::Draft, membership::content::Member},
};

/// The events after the create event and before the invites.
pub(super) async fn drafts(
    engine: &Engine,
    wanted: &CreateRoom,
    alias: Option<&RoomAliasId>,
    rules: &RoomVersionRules,
) -> Result<Vec<Draft>, CreateError> {
    if wanted.initial_state.iter().any(|state| state.kind == StateEventType::RoomCreate) {
        return Err(CreateError::BadContent("a room is created once".to_owned()));
    }
    let join = Member::default().content(engine, &wanted.creator, "join").await?;
    let mut drafts = Drafts { wanted, events: vec![] };
    drafts.add(StateEventType::RoomMember, wanted.creator.as_str(), join);
    let levels = power_levels::content(wanted, rules)?;
    drafts.add(StateEventType::RoomPowerLevels, "", levels);
    if let Some(alias) = alias {
        drafts.add_json(StateEventType::RoomCanonicalAlias, json!({ "alias": alias }))?;
    }
    drafts.add_preset()?;
    for InitialState { kind, state_key, content } in &wanted.initial_state {
        if !(*kind == StateEventType::RoomPowerLevels && state_key.is_empty()) {
            drafts.add(kind.clone(), state_key, content.clone());
        }
    }
    if let Some(name) = &wanted.name {
        drafts.add_json(StateEventType::RoomName, json!({ "name": name }))?;
    }
    if let Some(topic) = &wanted.topic {
        drafts.add_json(StateEventType::RoomTopic, topic_content(topic))?;
    }
    Ok(drafts.events)
}

/// A topic, with the block that newer clients read.
fn topic_content(topic: &str) -> Value {
    let text = json!([{ "body": topic, "mimetype": "text/plain" }]);
    json!({ "topic": topic, "m.topic": { "m.text": text } })
}

struct Drafts<'a> {
    wanted: &'a CreateRoom,
    events: Vec<Draft>,
}

impl Drafts<'_> {
    fn add(&mut self, kind: StateEventType, state_key: &str, content: Box<RawValue>) {
        let kind = TimelineEventType::from(kind);
        self.events.push(Draft::state(self.wanted.creator.clone(), kind, state_key, content));
    }

    fn add_json(&mut self, kind: StateEventType, content: Value) -> Result<(), CreateError> {
        let content = to_raw_value(&content).map_err(Internal::from)?;
        self.add(kind, "", content);
        Ok(())
    }

    /// What the preset sets, where the initial state does not.
    fn add_preset(&mut self) -> Result<(), CreateError> {
        let is_public = self.wanted.preset == Preset::PublicChat;
        let join_rule = if is_public { "public" } else { "invite" };
        let mut set = vec![
            (StateEventType::RoomJoinRules, json!({ "join_rule": join_rule })),
            (StateEventType::RoomHistoryVisibility, json!({ "history_visibility": "shared" })),
        ];
        // A room that says nothing of guests forbids them.
        if !is_public {
            set.push((StateEventType::RoomGuestAccess, json!({ "guest_access": "can_join" })));
        }
        for (kind, content) in set {
            let given = self.wanted.initial_state.iter();
            let mut given = given.filter(|state| state.kind == kind && state.state_key.is_empty());
            if given.next().is_none() {
                self.add_json(kind, content)?;
            }
        }
        Ok(())
    }
}
