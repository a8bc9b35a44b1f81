//! Requests to send something that have not been answered.
//!
//! A device knows its own event by the ID in the answer to its request. When /sync shows it the event first,
//! clients have to tell by the transaction that it is the one that they wait for, and not all of them manage:
//! matrix-js-sdk takes a reply in a thread for one that was not sent. So whoever shows a device its own event
//! waits for that answer, which is on its way once the event is there.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ruma::{DeviceId, OwnedDeviceId, OwnedUserId, UserId};
use tokio_util::sync::CancellationToken;

use super::Transaction;

/// How long it is waited for answers at most.
const LONGEST: Duration = Duration::from_secs(2);

type Device = (OwnedUserId, OwnedDeviceId);

/// By which transactions devices are sending something. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Answering(Arc<Mutex<HashMap<Device, HashMap<String, UnderWay>>>>);

/// The requests under one transaction ID.
#[derive(Debug, Default)]
struct UnderWay {
    requests: usize,
    answered: CancellationToken,
}

/// A request that is not answered until this is dropped.
#[derive(Debug)]
pub struct Unanswered {
    of: Answering,
    device: Device,
    txn_id: String,
}

impl Answering {
    /// Notes that a request is under way.
    #[must_use]
    pub fn begin(&self, user_id: &UserId, transaction: &Transaction) -> Unanswered {
        let device = (user_id.to_owned(), transaction.device_id.clone());
        let txn_id = transaction.txn_id.clone();
        let mut devices = self.lock();
        let of_device = devices.entry(device.clone()).or_default();
        of_device.entry(txn_id.clone()).or_default().requests += 1;
        drop(devices);
        Unanswered { of: self.clone(), device, txn_id }
    }

    /// Waits for the answers of the requests that a device has under way under some transaction IDs.
    pub(crate) async fn answered<'a>(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        txn_ids: impl Iterator<Item = &'a str>,
    ) {
        let awaited = self.under_way(user_id, device_id, txn_ids);
        let all = async {
            for answered in &awaited {
                answered.cancelled().await;
            }
        };
        // What is not answered by then may be shown first.
        let _ = tokio::time::timeout(LONGEST, all).await;
    }

    fn under_way<'a>(
        &self,
        user_id: &UserId,
        device_id: &DeviceId,
        txn_ids: impl Iterator<Item = &'a str>,
    ) -> Vec<CancellationToken> {
        let devices = self.lock();
        let Some(of_device) = devices.get(&(user_id.to_owned(), device_id.to_owned())) else {
            return vec![];
        };
        txn_ids.filter_map(|txn_id| of_device.get(txn_id)).map(|it| it.answered.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Device, HashMap<String, UnderWay>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        let mut devices = self.of.lock();
        let Some(of_device) = devices.get_mut(&self.device) else { return };
        if let Entry::Occupied(mut under_way) = of_device.entry(std::mem::take(&mut self.txn_id)) {
            under_way.get_mut().requests -= 1;
            if under_way.get().requests == 0 {
                under_way.remove().answered.cancel();
            }
        }
        if of_device.is_empty() {
            devices.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, pin_mut};
    use ruma::{device_id, user_id};

    use super::*;

    fn under(txn_id: &str) -> Transaction {
        Transaction {
            device_id: device_id!("D").to_owned(),
            path: String::new(),
            txn_id: txn_id.into(),
        }
    }

    #[tokio::test]
    async fn one_waits_for_the_last_answer_of_ones_own_requests() {
        let answering = Answering::default();
        let (alice, device) = (user_id!("@alice:test"), device_id!("D"));
        let answered = |user, device, id| answering.answered(user, device, std::iter::once(id));
        let begin = |id| answering.begin(alice, &under(id));
        let (first, again, other) = (begin("1"), begin("1"), begin("2"));
        for (user, device, txn_id) in [
            (alice, device, "3"),
            (alice, device_id!("E"), "1"),
            (user_id!("@bob:test"), device, "1"),
        ] {
            assert!(answered(user, device, txn_id).now_or_never().is_some());
        }
        let waiting = answered(alice, device, "1");
        pin_mut!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(again);
        assert!(waiting.now_or_never().is_some());
        drop(other);
        assert!(answering.lock().is_empty());
    }
}
