package sealed

import "testing"

func TestPositionsAreBounded(t *testing.T) {
	p := &positions{limit: 10}
	for i := range 100 {
		n := name{byte(i)}
		p.note(n, mark{position: uint64(i) + 1, version: "v"})
		if p.of(n).position != uint64(i)+1 {
			t.Fatalf("position %d is forgotten at once", i)
		}
	}
	if len(p.marks) != 10 {
		t.Errorf("there are %d marks, want 10", len(p.marks))
	}
}

func TestPositionsOnlyRise(t *testing.T) {
	p, n := &positions{limit: 10}, name{}
	p.deleted(n)
	if p.of(n) != (mark{}) {
		t.Error("a key never seen has a mark")
	}
	p.note(n, mark{5, "five"})
	p.note(n, mark{4, "four"})
	if p.of(n) != (mark{5, "five"}) {
		t.Errorf("the mark is %v", p.of(n))
	}
	p.deleted(n)
	if p.of(n) != (mark{5, ""}) {
		t.Errorf("after a Delete the mark is %v", p.of(n))
	}
}
