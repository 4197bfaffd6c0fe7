// Prints what crates/aegis-core/src/describe/protobuf/kubernetes.json holds: how the kinds of Kubernetes' own API look in
// protobuf and how the same is called in JSON, read off the types that kubectl and client-go themselves encode.
//
// Usage: go -C scripts/kubernetes-schema run . >crates/aegis-core/src/describe/protobuf/kubernetes.json
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

// Types that encode themselves: the reader has a function of its own for each.
var special = map[reflect.Type]string{
	reflect.TypeOf(resource.Quantity{}):    "quantity",
	reflect.TypeOf(intstr.IntOrString{}):   "int-or-string",
	reflect.TypeOf(metav1.Time{}):          "time",
	reflect.TypeOf(metav1.MicroTime{}):     "micro-time",
	reflect.TypeOf(metav1.FieldsV1{}):      "json",
	reflect.TypeOf(runtime.RawExtension{}): "json",
}

var messages = map[string]map[string]string{}

type unmarshaler interface{ Unmarshal([]byte) error }

func main() {
	kinds := map[string]string{}
	for gvk, t := range scheme.Scheme.AllKnownTypes() {
		options := strings.HasSuffix(gvk.Kind, "Options") && gvk.Kind != "DeleteOptions"
		if gvk.Version == runtime.APIVersionInternal || strings.HasSuffix(gvk.Kind, "List") || options || gvk.Kind == "WatchEvent" {
			continue
		}
		apiVersion, _ := gvk.ToAPIVersionAndKind()
		kinds[apiVersion+" "+gvk.Kind] = message(t)
	}
	fmt.Println("{\n\"kinds\": {")
	print(kinds)
	fmt.Println("},\n\"messages\": {")
	print(messages)
	fmt.Println("}\n}")
}

// print writes one entry a line, in order, so that a newer API shows as a short difference.
func print[T any](entries map[string]T) {
	keys := make([]string, 0, len(entries))
	for key := range entries {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	for index, key := range keys {
		value, err := json.Marshal(entries[key])
		if err != nil {
			fail(key, err)
		}
		comma := ","
		if index == len(keys)-1 {
			comma = ""
		}
		fmt.Printf("%q: %s%s\n", key, value, comma)
	}
}

func fail(what string, why any) {
	fmt.Fprintf(os.Stderr, "kubernetes-schema: %s: %v\n", what, why)
	os.Exit(1)
}

// message describes a struct's fields by their number: `NAME TYPE`. A name of "" is inlined.
func message(t reflect.Type) string {
	path := strings.TrimPrefix(strings.TrimPrefix(t.PkgPath(), "k8s.io/api/"), "k8s.io/apimachinery/pkg/apis/")
	name := strings.ReplaceAll(path, "/", ".") + "." + t.Name()
	if _, known := messages[name]; known {
		return name
	}
	fields := map[string]string{}
	messages[name] = fields
	for index := range t.NumField() {
		field := t.Field(index)
		tag := field.Tag.Get("protobuf")
		if tag == "" || tag == "-" {
			continue
		}
		parts := strings.Split(tag, ",")
		jsonName, options, _ := strings.Cut(field.Tag.Get("json"), ",")
		if jsonName == "" && !field.Anonymous {
			fail(name+"."+field.Name, "it has no name in JSON")
		}
		if _, err := strconv.Atoi(parts[1]); err != nil {
			fail(name+"."+field.Name, err)
		}
		if parts[0] != "varint" && parts[0] != "bytes" {
			fail(name+"."+field.Name, "its wire type is not read yet: "+parts[0])
		}
		if _, twice := fields[parts[1]]; twice {
			fail(name+"."+field.Name, "its number stands twice")
		}
		fields[parts[1]] = jsonName + " " + typeOf(field.Type, strings.Contains(options, "omitempty"))
	}
	return name
}

// typeOf is the type as the reader knows it; `?` in front: its zero is left out of JSON.
func typeOf(t reflect.Type, omitEmpty bool) string {
	zero := ""
	if omitEmpty {
		zero = "?"
	}
	if t.Kind() == reflect.Pointer {
		return typeOf(t.Elem(), false)
	}
	if name, ok := special[t]; ok {
		return name
	}
	if t == reflect.TypeOf(metav1.Duration{}) {
		fail(t.String(), "such a type is not read yet")
	}
	switch t.Kind() {
	case reflect.Struct:
		return "@" + message(t)
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return zero + "bytes"
		}
		// A list that is a message of its own, with its items as field 1.
		if _, wraps := reflect.New(t).Interface().(unmarshaler); wraps {
			return "list:" + typeOf(t.Elem(), false)
		}
		return "[]" + typeOf(t.Elem(), false)
	case reflect.Map:
		if t.Key().Kind() != reflect.String {
			fail(t.String(), "its keys are no text")
		}
		return "{}" + typeOf(t.Elem(), false)
	case reflect.String, reflect.Bool, reflect.Int32, reflect.Int64:
		return zero + t.Kind().String()
	}
	fail(t.String(), "such a type is not read yet")
	return ""
}
