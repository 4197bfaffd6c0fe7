# What custom modules say, as findings: [policy, entry, rule, reason, effect, mode, message, param], or without the last two.
# One line for each rule of each module follows below; a module can only add findings.
package aegis.collect

# A message is text, or {"msg": text}, or that with "param", the name of a parameter.
read(said) := [said, null] if is_string(said)

read(said) := [said.msg, null] if {
	is_object(said)
	object.keys(said) == {"msg"}
	is_string(said.msg)
}

read(said) := [said.msg, said.param] if {
	is_object(said)
	object.keys(said) == {"msg", "param"}
	is_string(said.msg)
	is_string(said.param)
}

failed(policy, mode) := [policy, null, "engine", "engine_failed", "deny", mode]

# Too many messages, or what isn't a message, deny.
findings(policy, mode, rule, effect, messages) := {failed(policy, mode)} if {
	count(messages) > 32
} else := {finding |
	some said in messages
	finding := judged(policy, mode, rule, effect, said)
}

judged(policy, mode, rule, effect, said) := finding if {
	text := read(said)
	finding := [policy, null, rule, "rego", effect, mode, text[0], text[1]]
} else := failed(policy, mode)

found contains finding if {
	some finding in []
}
