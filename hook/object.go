package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// object is a JSON object whose text is changed member by member: what is not touched
// stays as it was, with its order, its spaces and whatever we do not know.
type object struct {
	text    []byte
	members []member
	// indent is what stands before each member, a newline and spaces, or nothing.
	indent string
	// step is one step of indentation, "" at the top level.
	step string
}

// member is one member of an object: where its key begins and its value stands.
type member struct {
	key               string
	begin, value, end int
}

// parseObject finds the members of an object.
func parseObject(text []byte) (*object, error) {
	o := &object{text: text}
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil {
		return nil, err
	} else if t != json.Delim('{') {
		return nil, errors.New("it is not an object")
	}
	for d.More() {
		// The decoder stands behind the comma's or brace's place; the key follows.
		from := int(d.InputOffset())
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		key, _ := t.(string)
		begin := from + bytes.IndexByte(text[from:], '"')
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return nil, err
		}
		end := int(d.InputOffset())
		if slices.ContainsFunc(o.members, func(m member) bool { return m.key == key }) {
			return nil, fmt.Errorf("there are two members %q", key)
		}
		o.members = append(o.members, member{key, begin, end - len(raw), end})
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if rest := bytes.TrimSpace(text[d.InputOffset():]); len(rest) > 0 {
		return nil, errors.New("something follows after its end")
	}
	if len(o.members) > 0 {
		first := o.members[0].begin
		if at := bytes.LastIndexByte(text[:first], '\n'); at >= 0 && len(bytes.TrimSpace(text[at:first])) == 0 {
			o.indent = string(text[at:first])
		}
	}
	return o, nil
}

// keys lists the members.
func (o *object) keys() []string {
	var keys []string
	for _, m := range o.members {
		keys = append(keys, m.key)
	}
	return keys
}

// find returns the place of a member among all, -1 if there is none.
func (o *object) find(key string) int {
	return slices.IndexFunc(o.members, func(m member) bool { return m.key == key })
}

// get returns the text of a value, nil if there is none.
func (o *object) get(key string) []byte {
	i := o.find(key)
	if i < 0 {
		return nil
	}
	return o.text[o.members[i].value:o.members[i].end]
}

// put replaces the text and reads it again: each text that we make is a whole object.
func (o *object) put(text []byte) {
	if fresh, err := parseObject(text); err == nil {
		indent := o.indent
		fresh.step = o.step
		*o = *fresh
		if o.indent == "" {
			o.indent = indent
		}
	}
}

// set gives a member a value, which is laid out as the rest is.
func (o *object) set(key string, value []byte) {
	if bytes.Equal(compact(o.get(key)), compact(value)) {
		return
	}
	value = o.layOut(value)
	if i := o.find(key); i >= 0 {
		m := o.members[i]
		o.put(slices.Concat(o.text[:m.value], value, o.text[m.end:]))
		return
	}
	name, _ := json.Marshal(key) // a string always has a text
	colon := ": "
	if o.indent == "" {
		colon = ":"
	}
	addition := slices.Concat([]byte(o.indent), name, []byte(colon), value)
	if len(o.members) > 0 {
		at := o.members[len(o.members)-1].end
		o.put(slices.Concat(o.text[:at], []byte(","), addition, o.text[at:]))
		return
	}
	// Into an empty object, whose brace then stands under its beginning.
	closing := strings.TrimSuffix(o.indent, o.unit())
	o.put(slices.Concat([]byte("{"), addition, []byte(closing), []byte("}")))
}

// remove takes a member away, with one of the commas beside it.
func (o *object) remove(key string) {
	i := o.find(key)
	switch {
	case i < 0:
	case len(o.members) == 1:
		o.put([]byte("{}"))
	case i == 0:
		o.put(slices.Concat(o.text[:o.members[0].begin], o.text[o.members[1].begin:]))
	default:
		o.put(slices.Concat(o.text[:o.members[i-1].end], o.text[o.members[i].end:]))
	}
}

// layOut breaks a value into lines if the members of the object stand on lines of their own.
func (o *object) layOut(value []byte) []byte {
	if o.indent == "" {
		return compact(value)
	}
	var b bytes.Buffer
	if err := json.Indent(&b, value, strings.TrimPrefix(o.indent, "\n"), o.unit()); err != nil {
		return value
	}
	return b.Bytes()
}

// unit is one step of indentation: at the top level that of the members.
func (o *object) unit() string {
	if o.step != "" {
		return o.step
	}
	return strings.TrimPrefix(o.indent, "\n")
}

// compact takes the spaces out of a JSON text.
func compact(value []byte) []byte {
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return value
	}
	return b.Bytes()
}

// within changes an object at the top level of a document, and the document only if that
// changes. An object that becomes empty is taken away, one that is missing made.
func within(doc []byte, name string, change func(*object) error) ([]byte, error) {
	top, err := parseObject(doc)
	if err != nil {
		return nil, err
	}
	text := top.get(name)
	if text == nil || string(text) == "null" {
		text = []byte("{}")
	}
	inner, err := parseObject(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	inner.step = top.unit()
	if inner.indent == "" && top.indent != "" && len(inner.members) == 0 {
		inner.indent = top.indent + top.unit()
	}
	if err := change(inner); err != nil {
		return nil, err
	}
	switch {
	case bytes.Equal(inner.text, text):
	case len(inner.members) == 0:
		top.remove(name)
	default:
		top.replace(name, inner.text)
	}
	return top.text, nil
}

// replace puts a text that is laid out already.
func (o *object) replace(key string, text []byte) {
	if o.find(key) < 0 {
		o.set(key, []byte("0"))
	}
	m := o.members[o.find(key)]
	o.put(slices.Concat(o.text[:m.value], text, o.text[m.end:]))
}
