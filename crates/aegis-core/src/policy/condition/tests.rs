use super::{Condition, Pattern, Refusal};
use crate::policy::calendar::Calendar;

fn compile(text: &str) -> Result<Condition, Refusal> {
    Condition::compile(text, &Calendar::default())
}

fn refusal(text: &str) -> String {
    compile(text).expect_err(text).message
}

#[test]
fn what_cannot_be_said_faithfully_in_both_is_refused() {
    for (text, why) in [
        ("", "not a CEL expression"),
        ("a ==", "not a CEL expression: it ends too early"),
        ("a > 3 and b", "mismatched input 'and'; for `and`, write &&"),
        ("a > 3 or b", "; for `or`, write ||"),
        ("not has(a)", "; for `not`, write !"),
        ("env = \"production\"", "; to compare, write =="),
        ("a / 2.0 > 1", "write it without a point"),
        ("a % 2.0 == 1", "write it without a point"),
        ("a / 2", "compare this with something"),
        ("env + \"x\" == \"y\"", "arithmetic is for whole numbers"),
        ("a < null", "null has no order"),
        ("env == null", "only a parameter can be null"),
        ("a in [null]", "null can only be compared"),
        ("a == b\"x\"", "bytes are not supported"),
        ("a > 9007199254740992", "beyond 2^53"),
        ("a > 1e300", "beyond 2^53"),
        ("env == 5", "this compares text with a number"),
        ("env > true", "this compares text with true or false"),
        ("flag < true", "no order"),
        ("env", "has to be true or false"),
        ("5", "has to be true or false"),
        ("a + 1", "has to be true or false"),
        ("\"x\" in env", "expected a list or a mapping"),
        ("size(time.hour) > 1", "expected a list, a mapping or text, found a number"),
        ("size(\"x\") > 1", "size() is asked of a parameter"),
        ("a in []", "empty list"),
        ("a in [1, \"x\"]", "constants of one kind"),
        ("a in [b]", "constants only"),
        ("env in [1]", "text in a list of a number"),
        ("a[b] == 1", "must be written out"),
        ("a[-1] == 1", "must be written out"),
        ("has(env)", "always there"),
        ("has(a[0])", "asks for a parameter"),
        ("has(chain[0])", "asks for a parameter"),
        ("time.hours > 5", "did you mean `hour`?"),
        ("time > 5", "`time` has `weekday`, `hour`"),
        ("time.weekday == 5", "this compares text with a number"),
        ("time.date > 5", "this compares text with a number"),
        ("chain == \"x\"", "ask with in, size(), all() or exists()"),
        ("chain[0] == 5", "this compares text with a number"),
        ("session.calls > 5", "`session` has `labels` and `count"),
        ("session.labels == \"x\"", "ask with in"),
        ("session.count > 5", "ask for one count"),
        ("session.count[env] > 5", "write out what is counted"),
        ("session.count[\"a\"] == \"x\"", "this compares a number with text"),
        ("agent == \"x\"", "`agent` has `id`, `groups` and `parent`"),
        ("agent.name == \"x\"", "`agent` has `id`, `groups` and `parent`"),
        ("\"x\" in time.freezes", "the policy has no freeze \"x\"; it has no `freezes`"),
        ("env in time.freezes", "write out the freeze's name"),
        ("size(time.freezes) > 0", "the policy has no `freezes`"),
        ("size(time.freezes) > 1", "ask whether any freeze is on"),
        ("0 < size(time.freezes)", "compare it with 0: size(time.freezes) > 0"),
        ("time.freezes.exists(f, f == \"x\")", "ask \"name\" in time.freezes"),
        ("env.x == 1", "nothing of that name"),
        ("params == 1", "name a part of it"),
        ("items.all(x > 1)", "with one name for the element"),
        ("items.all(i, x, x > 1)", "with one name for the element"),
        ("items.all(1, x > 1)", "name the element first"),
        ("items.all(env, env > 1)", "give the element another name"),
        ("items.all(x, x.exists(y, y > 1))", "can't be nested"),
        ("items.all(x, x + 1)", "has to be true or false"),
        ("chain.all(x, x.name == \"a\")", "nothing of that name"),
        ("chain.all(x, x > 5)", "this compares text with a number"),
        ("env.all(x, x == \"a\")", "expected a list or a mapping, found text"),
        ("items.filter(x, x > 1).size() > 0", "ask with list.all"),
        ("items.exists_one(x, x > 1)", "ask with list.all"),
        ("timestamp(a) > timestamp(b)", "ask time.weekday"),
        ("double(a) > 1.0", "`double` can't stand here"),
        ("a.matches(b)", "must be written out"),
        ("5.startsWith(\"a\")", "expected text, found a number"),
        ("a.lowerAscii() == \"x\"", "`lowerAscii` can't stand here"),
        ("{\"a\": 1} == x", "can only stand after `in`"),
    ] {
        let said = refusal(text);
        assert!(said.contains(why), "{text}: {said}");
    }
    assert!(refusal(&"!".repeat(200)).len() < 200);
    assert!(refusal(&format!("{}a{}", "(".repeat(300), ")".repeat(300))).len() < 400);
    assert!(refusal(&"a == 1 || ".repeat(1000)).contains("longer than"));
}

#[test]
fn patterns_are_rewritten_into_what_both_engines_read_alike() {
    let pattern = |text: &str| Pattern::parse(text).map(|pattern| pattern.as_str().to_owned());
    assert_eq!(pattern(r"^v\d+\.\w[\s-]$").as_deref(), Ok(r"^v[0-9]+\.[0-9A-Za-z_][\t\n\f\r \-]$"));
    assert_eq!(pattern(r"(a|b)?[^\d_]{2,3}").as_deref(), Ok(r"(?:a|b)?[^0-9\_]{2,3}"));
    assert_eq!(pattern(r"\A😀\z").as_deref(), Ok("^😀$"));
    for bad in [
        r"(?i)a",
        r"(?i:a)",
        r"\bx",
        r"\pL",
        r"a**",
        r"a{2}{3}",
        r"a{201}",
        r"(a{20}){20}",
        r"[a&&b]",
        r"[[:alpha:]]",
        r"[a[b]]",
        r"[\D]",
        r"\u{41}",
        r"\x41",
        r"^*",
        "(",
        r"(?<!a)b",
    ] {
        assert!(pattern(bad).is_err(), "{bad}");
    }
}

#[test]
fn conditions_of_one_shape_share_one_rule() {
    let shape = |text: &str| compile(text).expect(text).shape;
    assert_eq!(shape("replicas > 5"), shape("amount > 500"));
    assert_eq!(shape("env == \"a\""), shape("env == \"b\""));
    assert_ne!(shape("replicas > 5"), shape("replicas >= 5"));
    assert_ne!(shape("a.b > 5"), shape("a > 5"));
}
