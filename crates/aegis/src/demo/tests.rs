use super::caller::Answer;
use super::stage::{Form, Step, as_text, banner};
use crate::style::Style;

fn refused() -> Answer {
    Answer {
        status: 403,
        decision: "deny".to_owned(),
        code: "PolicyViolation".to_owned(),
        detail: "replicas 200 is above max_replicas 50".to_owned(),
        guidance: "Ask for 50 replicas or fewer.".to_owned(),
        ..Answer::default()
    }
}

#[test]
fn a_step_says_who_what_decision_reason_and_what_reached() {
    let answer = refused();
    let step =
        Step { who: "deploy-manager", asks: "scale to 200".to_owned(), answer: &answer, reached: "nothing".to_owned() };
    assert_eq!(
        as_text(&step, &[], Style::plain(), 96),
        "\n  deploy-manager  scale to 200\n  decision        DENY  403 PolicyViolation\n  reason          replicas 200 is above \
         max_replicas 50\n  it is told      Ask for 50 replicas or fewer.\n  reached         nothing\n"
    );
    assert!(as_text(&step, &["why".to_owned()], Style::plain(), 96).ends_with("  WRONG           why\n"));
}

#[test]
fn long_text_wraps_behind_its_label_and_boxes_are_square_at_every_width() {
    let long = format!("sha256:{} {}", "0".repeat(64), "word ".repeat(60));
    let answer = Answer { detail: long.clone(), ..refused() };
    for width in [48, 80, 96] {
        let step = Step { who: "deploy-manager", asks: long.clone(), answer: &answer, reached: long.clone() };
        let text = as_text(&step, &[], Style::plain(), width);
        assert!(text.lines().all(|line| line.chars().count() <= width), "{text}");
        let banner = banner(1, "A title", &long, Style::plain(), width);
        assert!(banner.lines().all(|line| line.chars().count() == width), "{banner}");
    }
}

#[test]
fn machines_get_json_and_pipes_get_no_boxes() {
    assert_eq!(Form::of(true, true), Form::Json);
    assert_eq!(Form::of(false, false), Form::Plain);
    assert_eq!(Form::of(false, true), Form::Terminal);
}
