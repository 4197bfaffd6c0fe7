# The decision, over tables: fixed, whatever the policies say. The same rules as the native evaluator, in the same order.
#
# Everything that grows is in data.aegis_tables, beside the rules' package and not under it, and is only reached by index.
# Nothing undefined is put into a set's head or under `not`: engines differ there.
package aegis.gate

import data.aegis.condition

# What an engine is asked: {matched, findings}, both sorted. Empty findings mean: allowed.
evaluation := {"matched": sort(matched), "findings": [finding |
	some f in sort(found)
	finding := {"policy": f[0], "entry": f[1], "rule": f[2], "reason": f[3], "effect": f[4], "mode": f[5]}
]}

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

has_tool(tools) if tools == null

has_tool(tools) if {
	tools != null
	input.tool in tools
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

may_be_of_tool(name) if name.kind == "bare"

may_be_of_tool(name) if {
	name.kind == "exact"
	name.tool == input.tool
}

may_be_of_tool(name) if {
	name.kind == "glob"
	regex.match(name.tool, input.tool)
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
	some pattern in data.aegis_tables.policies[i].egress
	host_is(pattern)
	port_is(pattern)
}

found contains [policy.id, null, "egress", "not_allowed", "deny", policy.mode] if {
	names_destination
	some i in declaring - listing
	policy := data.aegis_tables.policies[i]
}

found contains ["", null, "egress", "not_allowed", "deny", acting_mode] if {
	names_destination
	count(mine) > 0
	count(acting & declaring) == 0
}

# -- The rules of the entries that are for the call.

# What a broken rule leads to: a human may be asked about a value that could be read.
effect(entry, rule, reason) := "ask" if {
	reason in {"above_maximum", "not_allowed"}
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

# Whether an absent parameter breaks a rule on it.
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

found contains [policy.id, j, rule.rule, "missing", "deny", policy.mode] if {
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	some rule in policy.entries[j].max
	is_missing(rule.param)
}

is_missing(param) if {
	not has_param(param)
	is_needed(param)
}

is_missing(param) if {
	has_param(param)
	input.params[param] == []
}

found contains [policy.id, j, rule.rule, reason, outcome, policy.mode] if {
	some [i, j] in applying
	policy := data.aegis_tables.policies[i]
	entry := policy.entries[j]
	some rule in entry.max
	has_param(rule.param)
	some value in elements(input.params[rule.param])
	reason := max_reason(value, rule.max)
	reason != ""
	outcome := effect(entry, rule.rule, reason)
}

# An array's elements, or the one value.
elements(value) := value if {
	is_array(value)
} else := [value]

max_reason(value, max) := "wrong_type" if {
	not is_number(value)
} else := "above_maximum" if {
	value > max
} else := ""
