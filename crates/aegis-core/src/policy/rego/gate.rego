# The decision, over tables: fixed, whatever the policies say. The same rules as the native evaluator, in the same order.
#
# Everything that grows is in data.aegis_tables, beside the rules' package and not under it, and is only reached by index.
# Nothing undefined is put into a set's head or under `not`: engines differ there.
package aegis.gate

import data.aegis.collect
import data.aegis.condition

# What an engine is asked: {matched, findings}, both sorted. Empty findings mean: allowed.
evaluation := {"matched": sort(matched), "findings": [finding |
	some f in sort(found)
	finding := object.union(
		{"policy": f[0], "entry": f[1], "rule": f[2], "reason": f[3], "effect": f[4], "mode": f[5]},
		said(f),
	)
]}

# The words of a custom module; no other finding has any.
said(f) := {"said": {"message": f[6], "param": f[7]}} if {
	count(f) == 8
} else := {}

found contains finding if some finding in collect.found

# -- Which policies are for the agent, by position.

mine contains i if some i in data.aegis_tables.exact[input.agent.id]

mine contains i if {
	some group in input.agent.groups
	some i in data.aegis_tables.groups[group]
}

mine contains glob.policy if {
	some glob in data.aegis_tables.globs
	regex.match(glob.pattern, input.agent.id)
}

enforcing contains i if {
	some i in mine
	data.aegis_tables.policies[i].mode == "enforce"
}

# Enforcing policies decide; where there are none, the shadow ones.
acting_mode := "enforce" if {
	count(enforcing) > 0
} else := "shadow"

acting contains i if {
	some i in mine
	data.aegis_tables.policies[i].mode == acting_mode
}

# -- Which entries are for the call: [policy, entry].

has_tool(tools) if lists_tool(tools, input.tool)

lists_tool(tools, _) if tools == null

lists_tool(tools, tool) if {
	tools != null
	tool in tools
}

plain_http if {
	input.tool == "http"
	input.action in {"request", "connect"}
}

# What nobody has described is allowed only where a policy names it in full.
must_be_named(action) if action == "unknown"

must_be_named(action) if {
	input.tool == "http"
	action in {"request", "connect"}
}

is_for(name, action, _) if {
	name.kind == "exact"
	name.tool == input.tool
	name.action == action
}

# A tunnel carries requests that nobody reads: what is said of plain requests holds for it.
is_for(name, action, _) if {
	name.kind == "exact"
	name.tool == "http"
	name.action == "request"
	input.tool == "http"
	action == "connect"
}

is_for(name, action, _) if {
	name.kind == "bare"
	not must_be_named(action)
	name.text == action
}

is_for(name, action, classes) if {
	name.kind == "bare"
	not must_be_named(action)
	name.text in classes
}

is_for(name, action, _) if {
	name.kind == "glob"
	not must_be_named(action)
	regex.match(name.tool, input.tool)
	regex.match(name.action, action)
}

may_be_of_tool(name) if may_be_of(name, input.tool)

may_be_of(name, _) if name.kind == "bare"

may_be_of(name, tool) if {
	name.kind == "exact"
	name.tool == tool
}

may_be_of(name, tool) if {
	name.kind == "glob"
	regex.match(name.tool, tool)
}

of_tool contains [i, j] if {
	some i in mine
	has_tool(data.aegis_tables.policies[i].tools)
	some j, entry in data.aegis_tables.policies[i].entries
	has_tool(entry.tools)
}

applying contains [i, j] if {
	some [i, j] in of_tool
	is_for(data.aegis_tables.policies[i].entries[j].name, input.action, input.classes)
}

# -- What brings a companion read along.

bringing contains [i, j] if {
	input.companion.of_tool == true
	some [i, j] in of_tool
	may_be_of_tool(data.aegis_tables.policies[i].entries[j].name)
}

bringing contains [i, j] if {
	some tool in input.companion.of_tools
	some i in mine
	lists_tool(data.aegis_tables.policies[i].tools, tool)
	some j, entry in data.aegis_tables.policies[i].entries
	lists_tool(entry.tools, tool)
	may_be_of(entry.name, tool)
}

bringing contains [i, j] if {
	some write in input.companion.of_actions
	some [i, j] in of_tool
	entry := data.aegis_tables.policies[i].entries[j]
	is_for(entry.name, write.action, write.classes)
	allowed_here(entry)
}

allowed_here(entry) if environment_is_listed(entry)

allowed_here(entry) if approval(entry) == "true"

environment_is_listed(entry) if entry.environments == null

environment_is_listed(entry) if {
	entry.environments != null
	input.env in entry.environments
}

approval(entry) := "false" if {
	entry.approval == null
} else := condition.val(entry.approval.shape, entry.approval.consts)

# -- Grants: which policies let the call through, and by what.

matched contains data.aegis_tables.policies[i].entries[j].label if some [i, j] in applying

matched contains data.aegis_tables.policies[i].entries[j].label if some [i, j] in bringing

granting contains i if some [i, _] in applying

granting contains i if some [i, _] in bringing

granting contains i if {
	plain_http
	some i in listing
	has_tool(data.aegis_tables.policies[i].tools)
}

found contains ["", null, "default_deny", "no_policy", "deny", data.aegis_tables.mode] if count(mine) == 0

found contains ["", null, "default_deny", "no_entry", "deny", acting_mode] if {
	count(mine) > 0
	count(acting & granting) == 0
}

# -- Egress.

names_destination if input.destination.host != ""

host_is(pattern) if {
	pattern.suffix == false
	input.destination.host == pattern.host
}

host_is(pattern) if {
	pattern.suffix == true
	endswith(input.destination.host, pattern.host)
	input.destination.host != pattern.host
}

port_is(pattern) if pattern.port == input.destination.port

port_is(pattern) if {
	pattern.port == null
	input.destination.port in {80, 443}
}

declaring contains i if {
	some i in mine
	data.aegis_tables.policies[i].egress != null
}

listing contains i if {
	names_destination
	some i in declaring
	lists_destination(data.aegis_tables.policies[i].egress)
}

lists_destination(patterns) if {
	some pattern in patterns
	host_is(pattern)
	port_is(pattern)
}

found contains [policy.id, null, "egress", "not_allowed", "deny", policy.mode] if {
	names_destination
	some i in (declaring - listing)
	policy := data.aegis_tables.policies[i]
}

found contains ["", null, "egress", "not_allowed", "deny", acting_mode] if {
	names_destination
	count(mine) > 0
	count(acting & (declaring | declaring_here)) == 0
}

# Policies that say where the calls of an entry may go, and this is such a call.
declaring_here contains i if {
	some [i, j] in applying
	data.aegis_tables.policies[i].entries[j].egress != null
}

found contains [policy.id, j, "egress", "not_allowed", outcome, policy.mode] if {
	names_destination
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	entry := policy.entries[j]
	entry.egress != null
	not lists_destination(entry.egress)
	outcome := effect(entry, "egress", "not_allowed")
}

# -- The rules of the entries that are for the call.

# What a broken rule leads to: a human may be asked about a value that could be read.
effect(entry, rule, reason) := "ask" if {
	reason in {"above_maximum", "below_minimum", "denied", "not_allowed", "pattern_mismatch"}
	rule in entry.asks
} else := "deny"

found contains [policy.id, j, "approval_needed", "approval_condition", "ask", policy.mode] if {
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	approval(policy.entries[j]) == "true"
}

found contains [policy.id, j, "approval_needed", "condition_unknown", "deny", policy.mode] if {
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	approval(policy.entries[j]) == "unknown"
}

# A true `approval_needed` lifts this violation, and no other.
found contains [policy.id, j, "allowed_environments", "not_allowed", outcome, policy.mode] if {
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	entry := policy.entries[j]
	not environment_is_listed(entry)
	approval(entry) != "true"
	outcome := effect(entry, "allowed_environments", "not_allowed")
}

# What refuses the call where it is true.
found contains [policy.id, null, "deny_if", reason, "deny", policy.mode] if {
	some i in mine
	policy := data.aegis_tables.policies[i]
	some one in policy.deny
	reason := deny_reason(condition.val(one.shape, one.consts))
	reason != ""
}

found contains [policy.id, j, "deny_if", reason, "deny", policy.mode] if {
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	some one in policy.entries[j].deny
	reason := deny_reason(condition.val(one.shape, one.consts))
	reason != ""
}

deny_reason(truth) := "deny_condition" if {
	truth == "true"
} else := "" if {
	truth == "false"
} else := "condition_unknown"

found contains [policy.id, j, "sanitize", "sanitize_required", "sanitize", policy.mode] if {
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	policy.entries[j].sanitize != null
	count(policy.entries[j].sanitize.detect) > 0
}

# Whether absent images break a rule on them.
is_needed(_) if input.shape.open == true

is_needed(param) if input.shape.params[param] == "required"

has_param(param) if param in object.keys(input.params)

images_missing if {
	count(input.images) == 0
	is_needed("images")
}

found contains [policy.id, j, rule.rule, "missing", "deny", policy.mode] if {
	images_missing
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	some rule in policy.entries[j].images
}

found contains [policy.id, j, rule.rule, reason, outcome, policy.mode] if {
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	entry := policy.entries[j]
	some rule in entry.images
	some image in input.images
	reason := image_reason(image, rule.allowed)
	reason != ""
	outcome := effect(entry, rule.rule, reason)
}

image_reason(image, allowed) := "wrong_type" if {
	image.repository == null
} else := "no_digest" if {
	image.digest == null
} else := "" if {
	is_listed(image, allowed)
} else := "not_allowed"

is_listed(image, allowed) if {
	some one in allowed
	one.digest == image.digest
	one.repository in {null, image.repository}
}

# -- The rules on parameters.

found contains [policy.id, j, rule.rule, "missing", "deny", policy.mode] if {
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	some rule in policy.entries[j].rules
	count(places(rule)) == 0
	absent_breaks(rule)
}

found contains [policy.id, j, rule.rule, reason, outcome, policy.mode] if {
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	entry := policy.entries[j]
	some rule in entry.rules
	some place in places(rule)
	some reason in reasons(rule, place)
	outcome := effect(entry, rule.rule, reason)
}

# What the action's definition says of a parameter: a path is of its first key.
presence(rule) := "required" if {
	input.shape.open == true
} else := input.shape.params[rule.param] if {
	rule.param in object.keys(input.shape.params)
} else := input.shape.params[rule.keys[0]] if {
	count(rule.keys) > 0
	rule.keys[0] in object.keys(input.shape.params)
} else := "none"

absent_breaks(rule) if presence(rule) == "required"

# What a partial write leaves out stays as it is, unless the author wants it said.
absent_breaks(rule) if {
	presence(rule) == "partial"
	rule.check == "required"
}

# Everywhere that a rule's parameter is: under its very name, and, where that is dotted, by the path as well.
places(rule) := [place |
	some place in [named(rule), walked(rule)]
	place.kind != "absent"
]

named(rule) := {"kind": "value", "value": input.params[rule.param], "beside": input.params} if {
	has_param(rule.param)
} else := {"kind": "absent"}

walked(rule) := {"kind": "absent"} if {
	count(rule.keys) == 0
} else := step(step(step(step({"kind": "value", "value": input.params}, rule.keys, 0), rule.keys, 1), rule.keys, 2), rule.keys, 3)

# One step into a mapping; past the path's end, no step.
step(from, keys, n) := from if {
	n >= count(keys)
} else := from if {
	from.kind != "value"
} else := {"kind": "blocked"} if {
	not is_object(from.value)
} else := {"kind": "value", "value": from.value[keys[n]], "beside": from.value} if {
	keys[n] in object.keys(from.value)
} else := {"kind": "absent"}

reasons(rule, place) := {"wrong_type"} if {
	place.kind == "blocked"
} else := {"missing"} if {
	is_required(rule)
	says_nothing(place.value)
} else := set() if {
	is_required(rule)
} else := {"missing"} if {
	place.value == []
} else := {currency_reason(rule, place.beside)} if {
	currency_reason(rule, place.beside) != ""
} else := {reason |
	some value in elements(place.value)
	reason := broken(rule, value)
	reason != ""
}

is_required(rule) if rule.check == "required"

# Nothing, or a list in which nothing is.
says_nothing(value) if is_empty(value)

says_nothing(value) if {
	is_array(value)
	some item in value
	is_empty(item)
}

is_empty(value) if value in [null, "", [], {}]

is_empty(value) if {
	is_string(value)
	regex.match(`^[ \t\r\n]*$`, value)
}

# Why an amount can't be compared: its currency.
currency_reason(rule, beside) := "" if {
	not_money(rule)
} else := "missing" if {
	not "currency" in object.keys(beside)
} else := "missing" if {
	beside.currency in [null, ""]
} else := "wrong_type" if {
	not is_string(beside.currency)
} else := "" if {
	regex.match(rule.currency, beside.currency)
} else := "other_currency"

not_money(rule) if rule.check != "bound"

not_money(rule) if rule.unit != "money"

# An array's elements, or the one value.
elements(value) := value if {
	is_array(value)
} else := [value]

# Why one value doesn't keep a rule; "" where it does.
broken(rule, value) := bound_reason(rule, number_of(rule, value)) if {
	rule.check == "bound"
} else := list_reason(rule, value, "", "not_allowed") if {
	rule.check == "allowed"
} else := list_reason(rule, value, "denied", "") if {
	rule.check == "denied"
} else := "wrong_type" if {
	not is_string(value)
} else := "" if {
	regex.match(rule.pattern, value)
} else := "pattern_mismatch"

# Durations are read by whoever asks.
number_of(rule, value) := value if {
	is_number(value)
	not is_negative(rule, value)
} else := input.seconds[value] if {
	rule.unit == "seconds"
	is_string(value)
	value in object.keys(input.seconds)
} else := null

# No amount and no duration is: to many tools -1 is no limit at all.
is_negative(rule, value) if {
	rule.unit in {"money", "seconds"}
	value < 0
}

bound_reason(rule, number) := "wrong_type" if {
	number == null
} else := "above_maximum" if {
	rule.side == "max"
	number > rule.limit
} else := "below_minimum" if {
	rule.side == "min"
	number < rule.limit
} else := ""

list_reason(list, value, listed, unlisted) := "wrong_type" if {
	not is_listable(list, value)
} else := listed if {
	lists(list, value)
} else := unlisted

# Whether the list says anything of values of this kind; an empty one does of all.
is_listable(list, value) if {
	is_string(value)
	count(list.texts) + count(list.globs) > 0
}

is_listable(list, value) if {
	condition.number(value)
	count(list.numbers) > 0
}

is_listable(list, value) if {
	is_boolean(value)
	count(list.bools) > 0
}

is_listable(list, value) if {
	condition.scalar(value)
	((count(list.texts) + count(list.globs)) + count(list.numbers)) + count(list.bools) == 0
}

lists(list, value) if {
	is_string(value)
	value in list.texts
}

lists(list, value) if {
	is_string(value)
	some glob in list.globs
	regex.match(glob, value)
}

lists(list, value) if {
	is_number(value)
	value in list.numbers
}

lists(list, value) if {
	is_boolean(value)
	value in list.bools
}
