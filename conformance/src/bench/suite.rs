//! The scenarios of the client API, and how much there is in each.

use anyhow::{Result, ensure};

use super::{
    Scenario, accounts, backup, counts, directory, fan_out, join, keys, media, messages, polls,
    push, search, send, sliding, spaces, stage::Scale, sync, to_device,
};

/// Those whose names begin with one of these, or all.
pub(super) fn chosen(only: &[String], scale: Scale) -> Result<Vec<Box<dyn Scenario>>> {
    let mut scenarios = all(scale);
    let is_known = |name: &String| scenarios.iter().any(|it| it.name().starts_with(name.as_str()));
    let unknown: Vec<_> = only.iter().filter(|&name| !is_known(name)).collect();
    ensure!(unknown.is_empty(), "there are no scenarios {unknown:?}");
    if !only.is_empty() {
        let is_wanted = |it: &dyn Scenario| only.iter().any(|name| it.name().starts_with(name));
        scenarios.retain(|scenario| is_wanted(&**scenario));
    }
    Ok(scenarios)
}

fn all(scale: Scale) -> Vec<Box<dyn Scenario>> {
    let mut scenarios: Vec<Box<dyn Scenario>> = vec![Box::new(accounts::Accounts::default())];
    scenarios.extend(sends(scale));
    scenarios.extend(fan_outs(scale));
    scenarios.extend(syncs(scale));
    scenarios.push(Box::new(sliding::Sliding::default()));
    let readers = messages::Messages::new("messages".into(), scale.of(2_000), scale.of(8));
    scenarios.push(Box::new(readers));
    scenarios.push(Box::new(join::Join::new("joins".into(), scale.of(20), scale.of(50))));
    let crowd = scale.of(5_000);
    scenarios.push(Box::new(join::Join::new(format!("joins: {crowd} to one room"), crowd, 1)));
    scenarios.push(Box::new(keys::Keys::new(scale.of(100))));
    scenarios.push(Box::new(to_device::ToDevice::new(scale.of(100), scale.of(100))));
    scenarios.push(Box::new(media::Media::new("media: 1 KiB".into(), 1 << 10, scale.of(500))));
    scenarios.push(Box::new(media::Media::new("media: 10 MiB".into(), 10 << 20, scale.of(10))));
    let polls = scale.of(1_000);
    scenarios.push(Box::new(polls::Polls::new(format!("long polls: {polls}"), polls)));
    scenarios.push(Box::new(search::Search::default()));
    scenarios.push(Box::new(directory::Directory::default()));
    scenarios.push(Box::new(spaces::Spaces::default()));
    scenarios.push(Box::new(counts::Counts::default()));
    scenarios.push(Box::new(push::Push::default()));
    scenarios.push(Box::new(backup::Backup::default()));
    scenarios
}

/// One sender, some and many; to one room and to several.
fn sends(scale: Scale) -> impl Iterator<Item = Box<dyn Scenario>> {
    let shapes = [1, scale.of(20)].into_iter().flat_map(move |rooms| {
        [1, scale.of(16), scale.of(64)].into_iter().map(move |senders| (rooms, senders))
    });
    shapes.map(move |(rooms, senders)| {
        let name = format!("send: {senders} to {rooms}");
        Box::new(send::Send::new(name, rooms, senders, scale.of(640))) as Box<dyn Scenario>
    })
}

/// Small rooms and large ones. Who is told of much is told of it less often.
fn fan_outs(scale: Scale) -> impl Iterator<Item = Box<dyn Scenario>> {
    [(10, 100), (200, 20), (1_000, 10)].into_iter().map(move |(members, messages)| {
        let members = scale.of(members);
        let name = format!("fan-out: {members}");
        Box::new(fan_out::FanOut::new(name, members, scale.of(messages))) as Box<dyn Scenario>
    })
}

fn syncs(scale: Scale) -> impl Iterator<Item = Box<dyn Scenario>> {
    [(10, 100, 50), (500, 5, 10), (2_000, 2, 4)].into_iter().map(move |(rooms, messages, times)| {
        let rooms = scale.of(rooms);
        let parts = vec![
            sync::Part::Initial(scale.of(times)),
            sync::Part::Idle(scale.of(1_000)),
            sync::Part::Delivery(scale.of(100)),
        ];
        let name = format!("sync: {rooms} rooms");
        Box::new(sync::Sync::new(name, rooms, scale.of(messages), parts)) as Box<dyn Scenario>
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_how_their_names_begin() {
        let scale = Scale(100);
        assert_eq!(chosen(&[], scale).unwrap().len(), all(scale).len());
        let sends = chosen(&["send".to_owned()], scale).unwrap();
        let names: Vec<_> = sends.iter().map(|it| it.name()).collect();
        assert_eq!(names.len(), 6);
        assert_eq!(names.first(), Some(&"send: 1 to 1"));
        assert!(chosen(&["nothing".to_owned()], scale).is_err());
    }
}
