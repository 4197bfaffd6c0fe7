//! An action's `cost:`, and the price list.
//!
//! What goes into a model is at most one token for each byte of the request, plus what its maker adds; what comes out is at most
//! what the request allows. Where either can't be known from the request (a cap that is missing, a file, a link, what was said
//! before), the cost is unknown. A call has the bound as its parameter `tokens`.

use serde_json::{Map, Value};

use super::glob::Glob;
use super::load::Context;
use super::tool::{Action, From, Param};
use crate::call::{Presence, Shape, ToolCall};
use crate::cost::{Cost, Metering, Price, parts};
use crate::document::{Node, Value as Yaml};
use crate::money::{CURRENCY, Currency};

/// The parameter that the bound stands in.
pub(super) const TOKENS: &str = "tokens";

/// How an action's cost is worked out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CostModel {
    /// Always this.
    Fixed(Cost),
    /// The amount in this parameter, in the currency beside it.
    Param(String),
    /// By the token.
    Tokens(Tokens),
}

impl CostModel {
    /// What an action with these parameters lacks for it.
    pub(super) fn lacks(&self, params: &[Param]) -> Option<String> {
        let Self::Param(name) = self else { return None };
        let has = |name: &str| params.iter().any(|param| param.name == name);
        let missing = [name.as_str(), CURRENCY].into_iter().find(|name| !has(name))?;
        // Said of calls whose amount is nowhere, a currency would be nowhere too.
        let nowhere = |param: &Param| param.name == *name && matches!(param.source, From::Nowhere);
        (missing == name || !params.iter().any(nowhere))
            .then(|| format!("its cost is in a parameter, and there is none of the name {missing:?}"))
    }
}

/// See [`CostModel::Tokens`]; all are names of parameters.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tokens {
    model: String,
    /// What caps the answer; `None` where there is none to pay.
    output: Option<String>,
    /// How many answers; one where it is absent.
    times: Option<String>,
    /// Tokens that the maker adds to what goes in.
    extra: u64,
    /// Keys of the body, each with what its value looks like, that make what goes in unknown.
    elsewhere: Vec<(String, Option<Glob>)>,
}

/// The price list: the first line that has a model counts.
#[derive(Debug, Default)]
pub(super) struct Prices {
    lines: Vec<(Vec<Glob>, Price)>,
}

impl Prices {
    /// Puts those of another list before these.
    pub(super) fn prefer(&mut self, mut other: Self) {
        other.lines.append(&mut self.lines);
        self.lines = other.lines;
    }

    fn of(&self, model: &str) -> Option<Price> {
        self.lines.iter().find(|(models, _)| models.iter().any(|glob| glob.matches(model))).map(|(_, price)| *price)
    }
}

/// Puts on a call what is known of its cost. `request` is what its body says and how long it is; `None` for a call that is
/// known by its name.
pub(super) fn meter(call: &mut ToolCall, action: &Action, request: Option<(&[Value], usize)>, prices: &Prices) {
    let mut metering = Metering { usage: action.usage, ..Metering::default() };
    match &action.cost {
        None => {}
        Some(CostModel::Fixed(cost)) => metering.estimate = Some(*cost),
        Some(CostModel::Param(name)) => metering.estimate = Some(amount(&call.params, name)),
        Some(CostModel::Tokens(model)) => {
            metering.price = text(&call.params, &model.model).and_then(|name| prices.of(name));
            let bounds = request.and_then(|request| model.bounds(&call.params, request));
            let estimate = metering.price.zip(bounds).map(|(price, (input, output))| price.at_most(input, output));
            metering.estimate = Some(estimate.unwrap_or(Cost::Unknown));
            let bound = bounds.and_then(|(input, output)| input.checked_add(output));
            if let (Some(bound), false) = (bound, call.params.contains_key(TOKENS)) {
                call.params.insert(TOKENS.to_owned(), bound.into());
            }
            if let Shape::Defined(shape) = &mut call.shape {
                shape.entry(TOKENS.to_owned()).or_insert(Presence::Required);
            }
        }
    }
    call.metering = metering;
}

fn text<'p>(params: &'p Map<String, Value>, name: &str) -> Option<&'p str> {
    params.get(name).and_then(Value::as_str)
}

fn amount(params: &Map<String, Value>, name: &str) -> Cost {
    let currency = text(params, CURRENCY).and_then(Currency::of);
    let known = currency.zip(params.get(name)).and_then(|(currency, value)| match value {
        Value::Number(number) => Some(Cost::of_minor(currency.minor(number)?, currency)),
        _ => None,
    });
    known.unwrap_or(Cost::Unknown)
}

impl Tokens {
    /// The most tokens that go in and come out.
    fn bounds(&self, params: &Map<String, Value>, (documents, length): (&[Value], usize)) -> Option<(u64, u64)> {
        if documents.iter().any(|document| self.looks_elsewhere(document)) {
            return None;
        }
        let input = u64::try_from(length).ok()?.checked_add(self.extra)?;
        let Some(output) = &self.output else { return Some((input, 0)) };
        let times = match self.times.as_ref().and_then(|name| params.get(name)) {
            None => 1,
            Some(value) => most(value)?.max(1),
        };
        Some((input, most(params.get(output)?)?.checked_mul(times)?))
    }

    fn looks_elsewhere(&self, value: &Value) -> bool {
        match value {
            Value::Array(items) => items.iter().any(|item| self.looks_elsewhere(item)),
            Value::Object(map) => map.iter().any(|(key, value)| {
                let names = |(name, looks): &(String, Option<Glob>)| {
                    name == key
                        && match (looks, value) {
                            (_, Value::Null) => false,
                            (None, _) => true,
                            (Some(glob), Value::String(text)) => glob.matches(text),
                            (Some(_), _) => false,
                        }
                };
                self.elsewhere.iter().any(names) || self.looks_elsewhere(value)
            }),
            _ => false,
        }
    }
}

/// The largest of a list of whole numbers, or the one.
fn most(value: &Value) -> Option<u64> {
    match value {
        Value::Array(items) => items.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>()?.into_iter().max(),
        one => one.as_u64(),
    }
}

/// Reads an action's `cost:`.
pub(super) fn read(context: &mut Context<'_>, path: &str, node: Option<&Node>) -> Option<CostModel> {
    let node = node?;
    let mut fields = context.fields(path, node)?;
    let fixed = fields.text("fixed");
    let param = fields.text("param");
    fields.node("tokens");
    fields.finish();
    match (fixed, param, node.get("tokens")) {
        (Some(text), None, None) => match text.parse() {
            Ok(cost) => Some(CostModel::Fixed(cost)),
            Err(error) => {
                context.error(node, path, format!("fixed: {error}"));
                None
            }
        },
        (None, Some(name), None) => Some(CostModel::Param(name)),
        (None, None, Some(tokens)) => read_tokens(context, &format!("{path}.tokens"), tokens).map(CostModel::Tokens),
        _ => {
            context.error(node, path, "a cost is exactly one of `fixed`, `param`, `tokens`");
            None
        }
    }
}

fn read_tokens(context: &mut Context<'_>, path: &str, node: &Node) -> Option<Tokens> {
    let mut fields = context.fields(path, node)?;
    let model = fields.required_text("model");
    let (output, times, extra) = (fields.text("output"), fields.text("times"), fields.int("extra"));
    fields.node("elsewhere");
    fields.finish();
    let elsewhere = context.parsed(&format!("{path}.elsewhere"), node.get("elsewhere"), |text| {
        Ok(match text.split_once('=') {
            Some((key, looks)) => (key.to_owned(), Some(Glob::new(looks))),
            None => (text.to_owned(), None),
        })
    });
    let extra = extra.map(u64::try_from).transpose();
    let Ok(extra) = extra else {
        context.error(node, path, "`extra` is a number of tokens");
        return None;
    };
    Some(Tokens { model: model?, output, times, extra: extra.unwrap_or_default(), elsewhere })
}

/// Whether a document is a price list and no tool.
pub(super) fn is_prices(node: &Node) -> bool {
    node.get("prices").is_some()
}

/// Reads a price list.
pub(super) fn prices(context: &mut Context<'_>, node: &Node) -> Prices {
    let Some(mut fields) = context.fields("", node) else { return Prices::default() };
    fields.required_text("apiVersion");
    let kind = fields.required_text("prices");
    let as_of = fields.required_text("as_of");
    let currency = fields.required_text("currency");
    let per = fields.int("per");
    fields.required("models");
    fields.finish();
    if kind.is_some_and(|kind| kind != "tokens") {
        context.error(node, "prices", "expected `tokens`: only their prices are known");
    }
    if as_of.is_some_and(|date| date.parse::<jiff::civil::Date>().is_err()) {
        context.error(node, "as_of", "expected the date that the prices are of, such as 2026-11-28");
    }
    let currency = currency.as_deref().and_then(Currency::of);
    let per = per.and_then(|per| u64::try_from(per).ok()).filter(|per| *per > 0);
    let (Some(currency), Some(per)) = (currency, per) else {
        context.error(node, "currency", "expected a currency, and for how many tokens the prices are (`per: 1000000`)");
        return Prices::default();
    };
    let mut prices = Prices::default();
    for (index, line) in context.items("models", node.get("models")).iter().enumerate() {
        let path = format!("models[{index}]");
        let Some(mut fields) = context.fields(&path, line) else { continue };
        for key in ["model", "input", "output"] {
            fields.required(key);
        }
        for key in ["cached", "cache_write"] {
            fields.node(key);
        }
        fields.finish();
        let models = context.parsed(&format!("{path}.model"), line.get("model"), |text| Ok(Glob::new(text)));
        let mut price = |key: &str| {
            let node = line.get(key)?;
            let number = match &node.value {
                Yaml::Int(number) => parts(&number.to_string()),
                Yaml::Float(number) => parts(&number.to_string()),
                _ => None,
            };
            if number.is_none() {
                context.error(node, &format!("{path}.{key}"), "expected a price with at most six decimals");
            }
            number
        };
        let (input, output) = (price("input"), price("output"));
        let (cached, cache_write) = (price("cached"), price("cache_write"));
        if let (Some(input), Some(output)) = (input, output) {
            let (cached, cache_write) = (cached.unwrap_or(input), cache_write.unwrap_or(input));
            prices.lines.push((models, Price { currency, per, input, cached, cache_write, output }));
        }
    }
    prices
}
