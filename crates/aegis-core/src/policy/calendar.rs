//! A policy's time: its zone (`timezone`) and its named freezes (`freezes`).
//!
//! There is no clock here and no file is read: the zones are those of the IANA database that is compiled in, and a call
//! brings its own time. A freeze is two instants; conditions that name it are lowered to comparisons with them, so that no
//! engine needs to know what a freeze, or a time zone, is.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{Timestamp, civil};
use serde::{Serialize, Serializer};

use crate::document::{Diagnostic, Fields, Place, nearest};

/// Most freezes of one policy.
const MAX_FREEZES: usize = 50;

/// The compiled-in database of time zones.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// What a policy's conditions know of time.
#[derive(Debug, Clone, Default)]
pub(super) struct Calendar {
    pub(super) zone: Zone,
    /// By name.
    pub(super) freezes: BTreeMap<String, Freeze>,
}

/// A time zone of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Zone(TimeZone);

/// When nothing is to be changed: from the first instant up to, and not with, the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Freeze {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    /// Where it is written.
    pub(super) place: Place,
}

/// What a condition can ask of the time, by its name in CEL and in the input document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeField {
    Weekday,
    Hour,
    Minute,
    Day,
    Month,
    Year,
    Date,
    Unix,
}

/// The value of a [`TimeField`].
pub(super) enum TimeValue {
    Number(i64),
    Word(&'static str),
    Text(String),
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// The zone of this name, in whatever case; else the nearest name.
    pub(super) fn named(name: &str) -> Result<Self, Option<String>> {
        match ZONES.get(name) {
            Ok(zone) if zone.iana_name().is_some() => Ok(Self(zone)),
            _ => {
                let names: Vec<String> = ZONES.available().map(|known| known.to_string()).collect();
                let near = nearest(name, names.iter().map(String::as_str)).map(str::to_owned);
                // A city without its continent.
                Err(near.or_else(|| names.into_iter().find(|known| known.rsplit('/').next() == Some(name))))
            }
        }
    }

    /// As the database spells it.
    pub(super) fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

impl PartialOrd for Zone {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Zone {
    fn cmp(&self, other: &Self) -> Ordering {
        self.name().cmp(other.name())
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl TimeField {
    pub(super) const ALL: [Self; 8] =
        [Self::Weekday, Self::Hour, Self::Minute, Self::Day, Self::Month, Self::Year, Self::Date, Self::Unix];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Weekday => "weekday",
            Self::Hour => "hour",
            Self::Minute => "minute",
            Self::Day => "day",
            Self::Month => "month",
            Self::Year => "year",
            Self::Date => "date",
            Self::Unix => "unix",
        }
    }

    /// Whether it is text; the others are whole numbers.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Weekday | Self::Date)
    }

    /// Its value at a moment in a zone.
    pub(super) fn at(self, now: Timestamp, zone: &Zone) -> TimeValue {
        if self == Self::Unix {
            return TimeValue::Number(now.as_second());
        }
        let local = zone.0.to_datetime(now);
        TimeValue::Number(match self {
            Self::Hour => local.hour().into(),
            Self::Minute => local.minute().into(),
            Self::Day => local.day().into(),
            Self::Month => local.month().into(),
            Self::Year => local.year().into(),
            Self::Weekday => return TimeValue::Word(weekday(local.weekday())),
            Self::Date => return TimeValue::Text(local.date().to_string()),
            Self::Unix => now.as_second(),
        })
    }
}

impl Serialize for TimeValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Word(text) => serializer.serialize_str(text),
            Self::Text(text) => serializer.serialize_str(text),
        }
    }
}

fn weekday(day: civil::Weekday) -> &'static str {
    match day {
        civil::Weekday::Monday => "Mon",
        civil::Weekday::Tuesday => "Tue",
        civil::Weekday::Wednesday => "Wed",
        civil::Weekday::Thursday => "Thu",
        civil::Weekday::Friday => "Fri",
        civil::Weekday::Saturday => "Sat",
        civil::Weekday::Sunday => "Sun",
    }
}

/// Reads `timezone` and `freezes`. What is wrong with a freeze goes to `errors`.
pub(super) fn read(file: &str, fields: &mut Fields<'_>, errors: &mut Vec<Diagnostic>) -> Calendar {
    let zone = read_zone(fields).unwrap_or_default();
    let mut freezes = BTreeMap::new();
    let items = fields.list("freezes").unwrap_or_default();
    if items.len() > MAX_FREEZES {
        let place = fields.place();
        fields.error_at("freezes", place, format!("more than {MAX_FREEZES} freezes in one policy"), None);
    }
    for (index, item) in items.iter().take(MAX_FREEZES).enumerate() {
        let path = format!("freezes[{index}]");
        let Some(mut freeze) = Fields::of(file, &path, item, errors) else { continue };
        let name = read_name(&mut freeze);
        let from = read_instant(&mut freeze, "from", &zone);
        let until = read_instant(&mut freeze, "until", &zone);
        freeze.finish();
        let (Some(name), Some(from), Some(until)) = (name, from, until) else { continue };
        if until <= from {
            let message = "`until` isn't after `from`: the freeze would never be on";
            errors.push(Diagnostic::error(file, item.place, &path, message));
            continue;
        }
        let message = format!("there is a freeze {name:?} already");
        if freezes.insert(name, Freeze { from, until, place: item.place }).is_some() {
            errors.push(Diagnostic::error(file, item.place, &path, message));
        }
    }
    Calendar { zone, freezes }
}

fn read_zone(fields: &mut Fields<'_>) -> Option<Zone> {
    let place = fields.node("timezone")?.place;
    let name = fields.text("timezone")?;
    match Zone::named(&name) {
        Ok(zone) => Some(zone),
        Err(near) => {
            let suggestion = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write a name of the IANA database, such as Europe/Berlin".to_owned(),
            };
            fields.error_at("timezone", place, format!("there is no time zone {name:?}"), Some(suggestion));
            None
        }
    }
}

fn read_name(fields: &mut Fields<'_>) -> Option<String> {
    let name = fields.required_text("name")?;
    let place = fields.node("name")?.place;
    if name.is_empty() || name.len() > 64 || name.contains(char::is_control) {
        fields.error_at("name", place, "a freeze's name is 1 to 64 characters", None);
        return None;
    }
    Some(name)
}

/// A date, which begins at midnight in the policy's zone, or a time with its offset (RFC 3339).
fn read_instant(fields: &mut Fields<'_>, key: &str, zone: &Zone) -> Option<Timestamp> {
    let text = fields.required_text(key)?;
    let place = fields.node(key)?.place;
    let instant = match text.parse::<civil::Date>() {
        Ok(date) if text.len() == 10 => date.to_zoned(zone.0.clone()).map(|start| start.timestamp()).ok(),
        _ => text.parse::<Timestamp>().ok().filter(|_| !text.contains('[')),
    };
    // So that the comparison is one of whole seconds.
    let instant = instant.filter(|instant| instant.subsec_nanosecond() == 0);
    if instant.is_none() {
        let suggestion = "write a date such as 2026-12-20, or a time such as 2026-12-20T18:00:00+01:00".to_owned();
        fields.error_at(key, place, format!("{text:?} is neither a date nor a time with an offset"), Some(suggestion));
    }
    instant
}
