//! Built-ins that regorus answers otherwise than OPA, answered as OPA does, or not at all.
//!
//! A replacement that can't be sure of OPA's answer fails, which denies; it never guesses. Deliberately absent: a whole
//! library; what is rarely needed is refused by [`super::lint`] instead.

mod format;
mod quantity;

pub(super) use format::verbs;
use regorus::Value;

/// How a replacement fails where engines have no common answer.
pub(super) const NO_AGREED_ANSWER: &str = "no agreed answer";
/// The largest whole number that every JSON reader agrees on, 2^53 - 1.
pub(super) const MAX_WHOLE: i64 = 9_007_199_254_740_991;
/// Longest text and list that a built-in makes, in bytes and elements: rules that double what they have end here.
const MAX_MADE: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
#[error("{NO_AGREED_ANSWER}")]
pub(super) struct NoAnswer;

/// A replacement: its arguments, which are as many as it takes, and never undefined.
pub(super) type BuiltIn = fn(&[Value]) -> Answer;
pub(super) type Answer = Result<Value, NoAnswer>;

/// The replaced built-ins and how many arguments each takes. `array.concat` and `concat` only have a limit added.
pub(super) const REPLACED: [(&str, u8, BuiltIn); 16] = [
    ("array.concat", 2, array_concat),
    ("ceil", 1, |args| rounded(args, f64::ceil)),
    ("concat", 2, concat),
    ("count", 1, count),
    ("floor", 1, |args| rounded(args, f64::floor)),
    ("format_int", 2, format_int),
    ("indexof", 2, indexof),
    ("lower", 1, |args| cased(args, simple_lower)),
    ("replace", 3, replaced),
    ("round", 1, |args| rounded(args, f64::round)),
    ("sprintf", 2, format::sprintf),
    ("substring", 3, substring),
    ("sum", 1, sum),
    ("to_number", 1, to_number),
    ("units.parse_bytes", 1, quantity::parse_bytes),
    ("upper", 1, |args| cased(args, simple_upper)),
];

/// Puts the replacements into an engine.
pub(super) fn replace(engine: &mut regorus::Engine) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for (name, arguments, answer) in REPLACED {
        let extension = move |args: Vec<Value>| Ok(answer(&args)?);
        engine.add_extension(name.to_owned(), arguments, Box::new(extension))?;
    }
    Ok(())
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn made(text: String) -> Answer {
    if text.len() > MAX_MADE { Err(NoAnswer) } else { Ok(Value::from(text)) }
}

fn whole(value: i64) -> Answer {
    if value.unsigned_abs() > MAX_WHOLE.unsigned_abs() { Err(NoAnswer) } else { Ok(Value::from(value)) }
}

/// regorus counts a text's UTF-16 units, OPA its code points.
fn count(args: &[Value]) -> Answer {
    Ok(match args {
        [Value::String(text)] => Value::from(text.chars().count()),
        [Value::Array(items)] => Value::from(items.len()),
        [Value::Set(items)] => Value::from(items.len()),
        [Value::Object(fields)] => Value::from(fields.len()),
        _ => Value::Undefined,
    })
}

/// OPA adds fractions exactly, regorus doesn't: only whole numbers have one sum.
fn sum(args: &[Value]) -> Answer {
    let numbers: Vec<&Value> = match args {
        [Value::Array(items)] => items.iter().collect(),
        [Value::Set(items)] => items.iter().collect(),
        _ => return Ok(Value::Undefined),
    };
    if numbers.iter().any(|item| !matches!(item, Value::Number(_))) {
        return Ok(Value::Undefined);
    }
    let mut total = 0_i64;
    for number in numbers {
        let number =
            number.as_i64().ok().filter(|number| number.unsigned_abs() <= MAX_WHOLE.unsigned_abs()).ok_or(NoAnswer)?;
        total = total.checked_add(number).ok_or(NoAnswer)?;
    }
    whole(total)
}

fn rounded(args: &[Value], round: fn(f64) -> f64) -> Answer {
    let [number @ Value::Number(_)] = args else { return Ok(Value::Undefined) };
    if let Ok(number) = number.as_i64() {
        return whole(number);
    }
    let rounded = number.as_f64().map(round).map_err(|_| NoAnswer)?;
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within 2^53, checked in the same line")]
    if rounded.abs() <= MAX_WHOLE as f64 { whole(rounded as i64) } else { Err(NoAnswer) }
}

/// A number in base 2, 8, 10 or 16, its fraction cut off. regorus has no digits for large ones.
fn format_int(args: &[Value]) -> Answer {
    let [number @ Value::Number(_), base @ Value::Number(_)] = args else { return Ok(Value::Undefined) };
    let whole = match number.as_i64() {
        Ok(whole) => whole,
        #[expect(clippy::cast_possible_truncation, reason = "it is cut off, and what is too large is refused below")]
        Err(_) => number.as_f64().map_err(|_| NoAnswer)?.trunc() as i64,
    };
    if whole.unsigned_abs() > MAX_WHOLE.unsigned_abs() {
        return Err(NoAnswer);
    }
    let (sign, digits) = (if whole < 0 { "-" } else { "" }, whole.unsigned_abs());
    Ok(Value::from(match base.as_i64() {
        Ok(2) => format!("{sign}{digits:b}"),
        Ok(8) => format!("{sign}{digits:o}"),
        Ok(10) => format!("{sign}{digits}"),
        Ok(16) => format!("{sign}{digits:x}"),
        _ => return Ok(Value::Undefined),
    }))
}

/// A text is a number when it is one in JSON; engines differ on all else, and on what a double doesn't hold.
fn to_number(args: &[Value]) -> Answer {
    match args {
        [Value::Null] => Ok(Value::from(0_u64)),
        [Value::Bool(value)] => Ok(Value::from(u64::from(*value))),
        [number @ Value::Number(_)] => Ok(number.clone()),
        [Value::String(text)] => {
            let looks = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
            if !looks {
                // Go reads `inf`, `nan` and `0x1p4` as numbers; other words are none.
                let word = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
                let odd =
                    text.contains('_') || ["inf", "infinity", "nan"].contains(&word.as_str()) || word.starts_with("0x");
                return if odd { Err(NoAnswer) } else { Ok(Value::Undefined) };
            }
            match serde_json::from_str::<serde_json::Value>(text) {
                Ok(serde_json::Value::Number(number))
                    if number.as_i64().is_some_and(|n| n != 0 && n.unsigned_abs() <= MAX_WHOLE.unsigned_abs()) =>
                {
                    Ok(Value::from(number.as_i64().unwrap_or_default()))
                }
                Ok(serde_json::Value::Number(_)) if &**text == "0" => Ok(Value::from(0_u64)),
                Ok(serde_json::Value::Number(number)) if number.is_f64() && !text.contains(['e', 'E']) => {
                    number.as_f64().map(Value::from).ok_or(NoAnswer)
                }
                _ => Err(NoAnswer),
            }
        }
        _ => Ok(Value::Undefined),
    }
}

/// Case by single characters, as Go does; Rust's own mapping knows words and may lengthen them.
fn cased(args: &[Value], map: fn(char) -> Option<char>) -> Answer {
    let [Value::String(text)] = args else { return Ok(Value::Undefined) };
    text.chars().map(map).collect::<Option<String>>().map(Value::from).ok_or(NoAnswer)
}

fn simple_lower(c: char) -> Option<char> {
    let mut lower = c.to_lowercase();
    lower.next().filter(|_| lower.next().is_none())
}

fn simple_upper(c: char) -> Option<char> {
    let mut upper = c.to_uppercase();
    upper.next().filter(|_| upper.next().is_none())
}

fn concat(args: &[Value]) -> Answer {
    let [Value::String(between), list] = args else { return Ok(Value::Undefined) };
    let parts: Option<Vec<&str>> = match list {
        Value::Array(items) => items.iter().map(text).collect(),
        Value::Set(items) => items.iter().map(text).collect(),
        _ => None,
    };
    let Some(parts) = parts else { return Ok(Value::Undefined) };
    let length = parts.iter().map(|part| part.len() + between.len()).fold(0_usize, usize::saturating_add);
    if length > MAX_MADE { Err(NoAnswer) } else { Ok(Value::from(parts.join(between))) }
}

fn array_concat(args: &[Value]) -> Answer {
    let [Value::Array(left), Value::Array(right)] = args else { return Ok(Value::Undefined) };
    if left.len().saturating_add(right.len()) > MAX_MADE {
        return Err(NoAnswer);
    }
    Ok(left.iter().chain(right.iter()).cloned().collect::<Vec<_>>().into())
}

fn replaced(args: &[Value]) -> Answer {
    let [Value::String(text), Value::String(old), Value::String(new)] = args else { return Ok(Value::Undefined) };
    if old.is_empty() {
        return Err(NoAnswer);
    }
    if text.len().saturating_mul(new.len() / old.len() + 1) > MAX_MADE {
        return Err(NoAnswer);
    }
    made(text.replace(&**old, new))
}

/// The position in characters; -1 where there is none.
fn indexof(args: &[Value]) -> Answer {
    let [Value::String(text), Value::String(part)] = args else { return Ok(Value::Undefined) };
    if part.is_empty() {
        return Ok(Value::Undefined);
    }
    let position = text.find(&**part).and_then(|at| text.get(..at)).map(|before| before.chars().count());
    Ok(position.map_or_else(|| Value::from(-1_i64), Value::from))
}

/// By characters; a negative length takes the rest.
fn substring(args: &[Value]) -> Answer {
    let [Value::String(text), from @ Value::Number(_), length @ Value::Number(_)] = args else {
        return Ok(Value::Undefined);
    };
    let (Ok(from), Ok(length)) = (from.as_i64(), length.as_i64()) else { return Ok(Value::Undefined) };
    let Ok(from) = usize::try_from(from) else { return Ok(Value::Undefined) };
    let rest = text.chars().skip(from);
    let part: String = match usize::try_from(length) {
        Ok(length) => rest.take(length).collect(),
        Err(_) => rest.collect(),
    };
    Ok(Value::from(part))
}
