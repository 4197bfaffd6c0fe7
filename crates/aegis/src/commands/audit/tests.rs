use serde_json::json;

use super::line;
use crate::style::Style;

#[test]
fn each_kind_of_record_is_one_line() {
    let decision = json!({
        "seq": 3, "recorded_at": "2026-01-31T12:00:00.123456Z", "event": "decision", "decision": "deny", "decision_id": "dec_1",
        "reason": "max_replicas: above_maximum", "agent": {"id": "deploy-manager"},
        "call": {"tool": "kubernetes", "action": "scale", "env": "staging"},
    });
    assert_eq!(
        line(&decision, Style::plain()),
        "    3  2026-01-31T12:00:00Z  deny             deploy-manager   kubernetes/scale         staging     \
         max_replicas: above_maximum  dec_1"
    );
    let mut shadow = decision;
    shadow["decision"] = json!("allow");
    shadow["would_decision"] = json!("deny");
    assert!(line(&shadow, Style::plain()).contains("  would deny       deploy-manager"));
    for event in ["outcome", "approval", "operation", "policy", "unheard-of"] {
        let record = json!({"seq": 1, "recorded_at": "2026-01-31T12:00:00Z", "event": event, "detail": "a\nb"});
        assert!(!line(&record, Style::plain()).contains('\n'), "{event}");
    }
}
