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

# In code points, as OPA counts; where an engine counts UTF-16 units, which its count of this one letter shows, those that take
# two of them are counted once.
size(x) := count(x) - (count(wide) * (count("😀") - 1)) if {
	is_string(x)
	wide := regex.find_all_string_submatch_n(`[\x{10000}-\x{10FFFF}]`, x, -1)
}

# Of whole numbers, as whole numbers: cut off towards zero. Without signs, because OPA knows a -0 that isn't 0.
quotient(x, y) := floor(abs(x) / abs(y)) if {
	y != 0
	same_sign(x, y)
}

quotient(x, y) := 0 - floor(abs(x) / abs(y)) if {
	y != 0
	not same_sign(x, y)
}

same_sign(x, y) if {
	x >= 0
	y > 0
}

same_sign(x, y) if {
	x <= 0
	y < 0
}

# With the sign of the left side.
remainder(x, y) := x - (quotient(x, y) * y)

# What all and exists look at; of more than these nothing is known.
elements(x) := x if {
	is_array(x)
	count(x) <= 1000
}

elements(x) := [key | some key, _ in x] if {
	is_object(x)
	count(x) <= 1000
}

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
