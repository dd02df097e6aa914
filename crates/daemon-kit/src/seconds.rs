//! Durations as seconds in JSON: a number with microseconds as its fraction. For serde's `with`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

/// Writes it.
///
/// # Errors
///
/// The serializer's.
pub fn serialize<S: Serializer>(it: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_f64(as_seconds(*it))
}

/// Reads it.
///
/// # Errors
///
/// The deserializer's, or that it isn't a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    from_seconds(f64::deserialize(from)?)
}

/// The same for a value that may be `null`.
pub mod option {
    use super::{Deserialize, Deserializer, Duration, Serializer, as_seconds, from_seconds};

    /// Writes it.
    ///
    /// # Errors
    ///
    /// The serializer's.
    #[allow(clippy::ref_option, reason = "serde calls it with a reference to the field")]
    pub fn serialize<S: Serializer>(it: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        match it {
            Some(it) => to.serialize_some(&as_seconds(*it)),
            None => to.serialize_none(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// The deserializer's, or that it isn't a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Option::<f64>::deserialize(from)?.map(from_seconds).transpose()
    }
}

/// Seconds, cut to microseconds. More than 285 years lose precision, as doubles do.
fn as_seconds(it: Duration) -> f64 {
    it.as_micros() as f64 / 1e6
}

/// Rounded to microseconds, so that what was written is read back although readers of JSON may be
/// off by the last bit of a double.
fn from_seconds<E: Error>(seconds: f64) -> Result<Duration, E> {
    if seconds.is_nan() || seconds.is_sign_negative() {
        return Err(E::custom(format_args!("{seconds} isn't a duration")));
    }
    let micros = (seconds * 1e6).round();
    if micros < u64::MAX as f64 {
        Ok(Duration::from_micros(micros as u64))
    } else {
        Ok(Duration::MAX)
    }
}
