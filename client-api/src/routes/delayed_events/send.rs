//! POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/{delayId}/send

use starling_engine::rooms::delayed;

use super::asked;
use crate::{
    answer::{self, Answer},
    call::Call,
};

pub(crate) async fn post(call: Call) -> Answer {
    asked(&call).await?;
    delayed::send(&call.engine, call.path_arg(0)).await?;
    answer::raw_json("{}")
}
