//! The name server of the containers, which knows no name.
//!
//! The names that there are stand in each container's `/etc/hosts`. A server that looks up anything
//! else (SRV records, names that do not exist) must get a quick no, not a timeout.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use tokio::{net::UdpSocket, task::AbortHandle};

const PORT: u16 = 53;
/// The longest query over UDP without extensions, and more than any real query has with them.
const MOST: usize = 512;
const HEAD: usize = 12;

/// Answers every query until it is dropped.
#[derive(Debug)]
pub(super) struct NameServer {
    address: Ipv4Addr,
    task: AbortHandle,
}

impl NameServer {
    /// Listens on port 53, for which a process needs to be root.
    pub(super) async fn start(address: Ipv4Addr) -> Result<Self> {
        let socket = UdpSocket::bind((address, PORT)).await.context("port 53 is out of reach")?;
        let task = tokio::spawn(answer_all(socket)).abort_handle();
        Ok(Self { address, task })
    }

    /// The text of a container's `/etc/resolv.conf`.
    pub(super) fn resolv_conf(&self) -> String {
        format!("nameserver {}\n", self.address)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer_all(socket: UdpSocket) {
    let mut buffer = [0; MOST];
    loop {
        let Ok((length, client)) = socket.recv_from(&mut buffer).await else {
            tokio::task::yield_now().await;
            continue;
        };
        if let Some(answer) = buffer.get(..length).and_then(no_such_name) {
            // A client that is gone needs no answer.
            let _ = socket.send_to(&answer, client).await;
        }
    }
}

/// The query, turned into the answer that its name does not exist (RFC 1035, section 4.1).
fn no_such_name(query: &[u8]) -> Option<Vec<u8>> {
    let end = HEAD + question_length(query.get(HEAD..)?)?;
    let mut answer = query.get(..end)?.to_vec();
    let [_, _, flags, more, counts @ ..] = answer.first_chunk_mut::<HEAD>()?;
    // Response; the opcode and "recursion desired" as asked; authoritative.
    *flags = (*flags & 0b0111_1001) | 0b1000_0100;
    // Recursion available; NXDOMAIN.
    *more = 0x83;
    *counts = [0, 1, 0, 0, 0, 0, 0, 0];
    Some(answer)
}

/// The labels of the name, the zero that ends it, type and class.
fn question_length(question: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*question.get(at)?);
        at += 1 + length;
        if length == 0 {
            return Some(at + 4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] =
        b"\xab\xcd\x01\x20\0\x01\0\0\0\0\0\x01\x03hs1\0\0\x21\0\x01\0\0\x29\x10\0\0\0\0\0\0\0";

    #[test]
    fn a_query_is_answered_by_no_such_name_and_its_extensions_are_dropped() {
        let answer = no_such_name(QUERY).unwrap();
        assert_eq!(answer, b"\xab\xcd\x85\x83\0\x01\0\0\0\0\0\0\x03hs1\0\0\x21\0\x01");
    }

    #[test]
    fn what_is_no_query_gets_no_answer() {
        assert_eq!(no_such_name(b""), None);
        assert_eq!(no_such_name(&QUERY[..14]), None);
        assert_eq!(no_such_name(&[0xff; 40]), None);
    }
}
