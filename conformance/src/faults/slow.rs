//! Thousands of connections that say half a word, one letter a second, or ask and never listen: nobody else
//! notices, and they are closed.

use std::{collections::HashSet, fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::pulse::{Beat, People, Pulse, at_most, millis};
use crate::{
    bench::process::Watched,
    client::User,
    report::{Report, say},
    servers::{DatabaseKind, Kind, Server, Spec, TestCa, process::raise_file_limit},
};

/// How long the server may keep a connection that says or takes nothing: its limits are 30 seconds, and it has to
/// come to it first.
const CLOSED_WITHIN: Duration = Duration::from_secs(40);
/// What is left out of the measure in a debug build beside other tests.
const FLOOR: Duration = Duration::from_millis(1500);
/// How much more memory there may be, in MiB.
const MEMORY_MIB: f64 = 200.0;
/// How many accounts they have.
const VICTIMS: usize = 10;
/// How often those ask who never read, each time for all of their room.
const UNREAD: usize = 200;

/// How the test of slow clients is run.
#[derive(Args, Debug)]
pub struct Options {
    /// Connections that send half of a request's head.
    #[arg(long, default_value_t = 5000)]
    half_open: usize,
    /// Connections that send one byte a second.
    #[arg(long, default_value_t = 1000)]
    dripping: usize,
    /// Connections that ask for much and read nothing.
    #[arg(long, default_value_t = 500)]
    never_reading: usize,
    /// Requests a second of the others.
    #[arg(long, default_value_t = 40.0)]
    rate: f64,
    /// For how many seconds the others are measured without an attack.
    #[arg(long, default_value_t = 20)]
    baseline_seconds: u64,
    /// The server's database; STARLING_TEST_DATABASE decides when it is not given.
    #[arg(long, value_enum)]
    database: Option<DatabaseKind>,
    /// Also write the report to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// Plays the attack and tells whether the server stood it.
pub async fn run(options: Options) -> Result<bool> {
    raise_file_limit()?;
    let database = options.database.map_or_else(DatabaseKind::from_env, Ok)?;
    let server = Spec::new(Kind::Starling)?.on(database).start(&TestCa::new()?).await?;
    let victims = victims(&server).await?;
    let people = People::new(&server, 4).await?;
    let watched = Watched::server(&server)?;
    let baseline = Duration::from_secs(options.baseline_seconds);
    let before = Pulse::last(&people, options.rate, baseline).await?;
    let memory = watched.resident_mib()?;
    let pulse = Pulse::begin(&people, options.rate);
    let mut attack = Attack::begin(&server, &options, &victims).await?;
    let count = options.half_open + options.dripping + options.never_reading;
    let mut report = Report::default();
    let (mut held, mut closed) = (0, None);
    report
        .case("the connections are there", async {
            held = attack.taken(count).await?;
            ensure!(held * 10 >= count * 9, "{held} of {count} are");
            Ok(())
        })
        .await;
    let case = async {
        closed = Some(attack.closed().await?);
        Ok(())
    };
    report.case(&format!("all {count} are closed"), case).await;
    attack.tasks.abort_all();
    let during = pulse.end().await?;
    judge(&mut report, &before, &during).await;
    let more = watched.usage()?.peak_mib - memory;
    report
        .case(&format!("at most {MEMORY_MIB} MiB more"), async {
            ensure!(more <= MEMORY_MIB, "{more:.0} MiB more");
            Ok(())
        })
        .await;
    report.figure("connections", held);
    report.figure("p99_ms_before", millis(before.p99()));
    report.figure("p99_ms_during", millis(during.p99()));
    report.figure("closed_after_seconds", closed.map(|it: Duration| it.as_secs()));
    report.figure("more_memory_mib", more.round());
    if report.failed() > 0 {
        say(&server.log_tail());
    }
    report.finish(options.json.as_deref())
}

async fn judge(report: &mut Report, before: &Beat, during: &Beat) {
    report.case("everybody else is served", async { during.all_done() }).await;
    let slower = async { at_most("p99", during.p99(), (2, before.p99()), FLOOR) };
    report.case("and waits at most twice as long", slower).await;
}

/// Those in whose names it is asked and not read: their room says so much that nobody can leave it unread.
async fn victims(server: &Server) -> Result<Vec<User>> {
    let first = User::register(server, "victim").await?;
    let room = first.create_public_room().await?;
    for _ in 0..20 {
        first.say(&room, &"much to read ".repeat(4000)).await?;
    }
    let mut victims = vec![first];
    while victims.len() < VICTIMS {
        let victim = User::register(server, "victim").await?;
        victim.join(&room, &[]).await?;
        victims.push(victim);
    }
    Ok(victims)
}

/// The connections, which live until their tasks are ended.
struct Attack {
    tasks: JoinSet<()>,
    /// Their ports on this side, and that of the server.
    ports: HashSet<u16>,
    server: u16,
    begun: Instant,
}

impl Attack {
    /// Opens all connections.
    async fn begin(server: &Server, options: &Options, victims: &[User]) -> Result<Self> {
        let url = server.client_url();
        let address: SocketAddr = url.trim_start_matches("http://").parse()?;
        let (tasks, ports, begun) = (JoinSet::new(), HashSet::new(), Instant::now());
        let mut attack = Self { tasks, ports, server: address.port(), begun };
        for _ in 0..options.half_open {
            let stream = attack.connect(address, None).await?;
            attack.tasks.spawn(say_half(stream));
        }
        for (number, victim) in (0..options.dripping).zip(victims.iter().cycle()) {
            let stream = attack.connect(address, None).await?;
            attack.tasks.spawn(drip(stream, number.is_multiple_of(2), victim.token.clone()));
        }
        for (_, victim) in (0..options.never_reading).zip(victims.iter().cycle()) {
            let stream = attack.connect(address, Some(4096)).await?;
            attack.tasks.spawn(ask_and_not_read(stream, victim.token.clone()));
        }
        Ok(attack)
    }

    async fn connect(&mut self, address: SocketAddr, buffer: Option<u32>) -> Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(address).await.context("connecting")?;
        self.ports.insert(stream.local_addr()?.port());
        Ok(stream)
    }

    /// How many of them the server has.
    fn held(&self) -> Result<usize> {
        let table = fs::read_to_string("/proc/net/tcp").context("cannot read /proc/net/tcp")?;
        Ok(held(&table, self.server, &self.ports))
    }

    /// Waits until the server has taken them, and says how many it did.
    async fn taken(&self, count: usize) -> Result<usize> {
        let mut most = 0;
        while most < count && self.begun.elapsed() < CLOSED_WITHIN / 2 {
            most = most.max(self.held()?);
            sleep(Duration::from_millis(100)).await;
        }
        Ok(most)
    }

    /// How long it took until the server had closed them all; fails when that is too long.
    async fn closed(&self) -> Result<Duration> {
        loop {
            let (held, waited) = (self.held()?, self.begun.elapsed());
            if held == 0 {
                return Ok(waited);
            }
            ensure!(waited < CLOSED_WITHIN, "{held} are open after {waited:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

/// How many connections to a port from some other ports somebody has, as `/proc/net/tcp` tells. One that nobody has
/// taken yet, or has left, is nobody's file.
fn held(table: &str, server: u16, ports: &HashSet<u16>) -> usize {
    let port = |address: &str| {
        let (_, port) = address.split_once(':')?;
        u16::from_str_radix(port, 16).ok()
    };
    let counts = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, local, remote, _, _, _, _, _, _, inode, ..] = fields.as_slice() else {
            return false;
        };
        port(local) == Some(server)
            && port(remote).is_some_and(|port| ports.contains(&port))
            && *inode != "0"
    };
    table.lines().filter(counts).count()
}

/// Half a head, and then nothing.
async fn say_half(mut stream: TcpStream) {
    // The server may close it before it has said even this.
    let _ = stream.write_all(b"GET /_matrix/client/versions HTTP/1.1\r\nHost: x\r\n").await;
    std::future::pending::<()>().await;
}

/// One byte a second: of a head, or of a body.
async fn drip(mut stream: TcpStream, body: bool, token: String) {
    let head = format!(
        "POST /_matrix/client/v3/createRoom HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
    );
    let mut sent = if body { stream.write_all(head.as_bytes()).await } else { Ok(()) };
    let letters = if body { "          " } else { "GET /_matr" }.as_bytes().iter().cycle();
    for letter in letters {
        if sent.is_err() {
            // The port is not to be that of somebody else while connections are counted.
            std::future::pending::<()>().await;
        }
        sent = stream.write_all(std::slice::from_ref(letter)).await;
        sleep(Duration::from_secs(1)).await;
    }
}

/// Asks for the whole room, many times, and reads no word of it.
async fn ask_and_not_read(mut stream: TcpStream, token: String) {
    let ask = format!(
        "GET /_matrix/client/v3/sync?timeout=0&full_state=true HTTP/1.1\r\nHost: x\r\nAuthorization: \
         Bearer {token}\r\n\r\n"
    );
    for _ in 0..UNREAD {
        // When the server does not take more, there is enough that it cannot get rid of.
        if !matches!(
            timeout(Duration::from_secs(1), stream.write_all(ask.as_bytes())).await,
            Ok(Ok(()))
        ) {
            break;
        }
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_somebody_has_are_counted() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 0100007F:C001 01 00000000:00000000 00:00000000 00000000 0 0 4711 1 0\n\
            1: 0100007F:1F90 0100007F:C002 01 00000000:00000000 00:00000000 00000000 0 0 0 1 0\n\
            2: 0100007F:1F90 0100007F:C003 01 00000000:00000000 00:00000000 00000000 0 0 4712 1 0\n\
            3: 0100007F:C001 0100007F:1F90 01 00000000:00000000 00:00000000 00000000 0 0 4713 1 0\n";
        let ports = HashSet::from([0xC001, 0xC002]);
        assert_eq!(held(table, 0x1F90, &ports), 1);
        assert_eq!(held(table, 0x1F91, &ports), 0);
    }
}
