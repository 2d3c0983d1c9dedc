//! The only place of the pipeline that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

use clinical::Time;

pub fn now() -> Time {
    from_system(SystemTime::now())
}

pub fn from_system(at: SystemTime) -> Time {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX)),
        // A clock before 1970 is not set; the ledger's order does not depend on it.
        Err(_) => Time(0),
    }
}
