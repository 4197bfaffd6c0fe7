# What the generated rules of conditions are made of; they follow below. Each condition is asked as val(shape, constants) and
# answers "true", "false" or "unknown".
package aegis.condition

# The numbers that every JSON reader agrees on: up to 2^53 - 1 either way.
number(x) if {
	is_number(x)
	x <= 9007199254740991
	x >= -9007199254740991
}

whole(x) if {
	number(x)
	floor(x) == x
}

scalar(x) if is_string(x)

scalar(x) if is_boolean(x)

scalar(x) if number(x)

# Of one kind.
alike(x, y) if {
	is_string(x)
	is_string(y)
}

alike(x, y) if {
	is_boolean(x)
	is_boolean(y)
}

alike(x, y) if {
	number(x)
	number(y)
}

# Of one kind that has an order.
ordered(x, y) if {
	is_string(x)
	is_string(y)
}

ordered(x, y) if {
	number(x)
	number(y)
}

has_key(map, key) if key in object.keys(map)

size(x) := count(x) if is_array(x)

size(x) := count(x) if is_object(x)

# true, false, or undefined for what isn't a question.
within(container, x) if {
	is_array(container)
	scalar(x)
	x in container
}

within(container, x) := false if {
	is_array(container)
	scalar(x)
	not x in container
}

within(container, x) if {
	is_object(container)
	is_string(x)
	has_key(container, x)
}

within(container, x) := false if {
	is_object(container)
	is_string(x)
	not has_key(container, x)
}

val("", _) := "unknown"
