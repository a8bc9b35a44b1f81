//! The servers, with a way from each to each other that can be cut.

use anyhow::{Result, ensure};

use crate::{
    client::User,
    servers::{DatabaseKind, Kind, Server, Spec, TestCa, cut::Way},
};

/// Servers that reach each other by ways that can be cut.
#[derive(Debug)]
pub(super) struct World {
    pub(super) servers: Vec<Server>,
    /// From whom, to whom.
    ways: Vec<(usize, usize, Way)>,
}

impl World {
    /// Starts the servers, all connected.
    ///
    /// Synapse takes a name at its word: it goes where the name says. So the port in the name of a
    /// server is that of the way from Synapse, and the others are told where else to go.
    pub(super) async fn start(kinds: &[Kind], database: DatabaseKind) -> Result<Self> {
        ensure!(kinds.len() >= 2, "a cut needs two servers");
        let stubborn: Vec<usize> =
            (0..kinds.len()).filter(|index| kinds.get(*index) == Some(&Kind::Synapse)).collect();
        ensure!(stubborn.len() <= 1, "two Synapses cannot be cut from each other");
        let mut specs = Vec::new();
        for kind in kinds {
            specs.push(Spec::new(*kind)?.on(database));
        }
        let mut ways = Vec::new();
        for (to, spec) in specs.iter_mut().enumerate() {
            if let Some(from) = stubborn.iter().find(|from| **from != to) {
                let way = Way::to(spec.federation_port).await?;
                spec.name = format!("localhost:{}", way.port);
                ways.push((*from, to, way));
            }
        }
        let targets: Vec<(String, u16)> =
            specs.iter().map(|spec| (spec.name.clone(), spec.federation_port)).collect();
        for (from, spec) in specs.iter_mut().enumerate() {
            if stubborn.contains(&from) {
                continue;
            }
            for (to, (name, port)) in targets.iter().enumerate().filter(|(to, _)| *to != from) {
                let way = Way::to(*port).await?;
                spec.peers.push((name.clone(), way.port));
                ways.push((from, to, way));
            }
        }
        let ca = TestCa::new()?;
        let mut servers = Vec::new();
        for spec in specs {
            servers.push(spec.start(&ca).await?);
        }
        Ok(Self { servers, ways })
    }

    /// A user on each server.
    pub(super) async fn users(&self) -> Result<Vec<User>> {
        let mut users = Vec::new();
        for server in &self.servers {
            users.push(User::register(server, "user").await?);
        }
        Ok(users)
    }

    /// On which side of the cut a server is.
    pub(super) fn side(&self, server: usize) -> usize {
        usize::from(server >= self.servers.len().div_ceil(2))
    }

    /// Cuts one side from the other.
    pub(super) fn cut(&self) {
        for (from, to, way) in &self.ways {
            if self.side(*from) != self.side(*to) {
                way.cut();
            }
        }
    }

    /// Joins them again.
    pub(super) fn heal(&self) {
        self.ways.iter().for_each(|(_, _, way)| way.heal());
    }

    /// The ends of the servers' logs.
    pub(super) fn logs(&self) -> Vec<String> {
        let log = |server: &Server| format!("--- {}\n{}", server.name(), server.log_tail());
        self.servers.iter().map(log).collect()
    }
}
