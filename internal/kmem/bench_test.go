package kmem

import "testing"

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		r, err := Open()
		if err != nil {
			b.Skip(err)
		}
		if _, err := r.Offset("sock.sk_receive_queue"); err != nil {
			b.Fatal(err)
		}
		r.Close()
	}
}

func BenchmarkWord(b *testing.B) {
	r, err := Open()
	if err != nil {
		b.Skip(err)
	}
	defer r.Close()
	for b.Loop() {
		if _, err := r.Word(r.task); err != nil {
			b.Fatal(err)
		}
	}
}
