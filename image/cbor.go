package image

import (
	"fmt"
	"math"
	"reflect"

	"github.com/fxamacker/cbor/v2"

	"github.com/rethaw/rethaw/specs"
)

// payloads turns records into their payloads and back. It is safe for concurrent
// use.
type payloads struct {
	enc cbor.EncMode
	dec cbor.DecMode
}

// newPayloads fixes the dialect of CBOR (RFC 8949):
//
//   - Core Deterministic Encoding (4.2.1), so that one content has one image.
//   - Strings are byte strings: to the kernel a path, a comm or a host name are
//     bytes in no encoding, and a CBOR text string must be UTF-8.
//   - No tags, no indefinite lengths, no key twice, and no key that this version
//     does not know: what is not understood is refused, not dropped.
//
// An array may be as long as its payload has bytes; the decoder compares the
// two before it allocates.
func newPayloads() (*payloads, error) {
	encoding := cbor.CoreDetEncOptions()
	encoding.String = cbor.StringToByteString
	encoding.TagsMd = cbor.TagsForbidden
	enc, err := encoding.EncMode()
	if err != nil {
		return nil, fmt.Errorf("set up the CBOR encoder: %w", err)
	}
	dec, err := cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		ByteStringToString: cbor.
			ByteStringToStringAllowed,
		MaxNestedLevels:  16,
		MaxMapPairs:      256,
		MaxArrayElements: math.MaxInt32,
	}.DecMode()
	if err != nil {
		return nil, fmt.Errorf("set up the CBOR decoder: %w", err)
	}
	return &payloads{enc: enc, dec: dec}, nil
}

// Warm has the encoder look at all types of records, which it does at their first use in a
// program: 0.1 ms for a large one, better spent before the container stands still.
func Warm() {
	p, err := newPayloads()
	if err != nil {
		return
	}
	for _, kind := range specs.Types() {
		if r, err := specs.New(kind); err == nil {
			_, _ = p.enc.Marshal(r)
		}
	}
}

// encode returns the payload of r.
func (p *payloads) encode(r specs.Record) ([]byte, error) {
	payload, err := p.enc.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encode: %w", err)
	}
	if len(payload) > specs.MaxPayload {
		return nil, fmt.Errorf("payload of %d bytes is above the limit of %d", len(payload), specs.MaxPayload)
	}
	return payload, nil
}

// decode fills r from its payload.
func (p *payloads) decode(payload []byte, r specs.Record) error {
	if err := p.dec.Unmarshal(payload, r); err != nil {
		return fmt.Errorf("decode %s: %w", typeName(r), err)
	}
	return nil
}

// typeName is the name of r's type in package specs.
func typeName(r specs.Record) string {
	t := reflect.TypeOf(r)
	if t == nil {
		return "nil"
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Name()
}
