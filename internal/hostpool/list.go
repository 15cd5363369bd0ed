package hostpool

// A list is a queue of Ts, linked through nodes that are fields of T: adding one does
// not allocate, and removing one from the middle is O(1). Neither container/list nor a
// slice offers both. The zero value is an empty list.
type list[T any] struct {
	first, last *node[T]
	len         int
}

// A node is the place of a T in a list. Its zero value is in no list.
type node[T any] struct {
	in         *list[T] // nil if it is in no list
	prev, next *node[T]
	of         *T // the element
}

// push puts n, which is in no list, at the end of l.
func (l *list[T]) push(n *node[T], of *T) {
	*n = node[T]{in: l, prev: l.last, of: of}
	if l.last == nil {
		l.first = n
	} else {
		l.last.next = n
	}
	l.last = n
	l.len++
}

// leave takes n out of its list, if it is in one.
func (n *node[T]) leave() {
	l := n.in
	if l == nil {
		return
	}
	if n.prev == nil {
		l.first = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.last = n.prev
	} else {
		n.next.prev = n.prev
	}
	l.len--
	*n = node[T]{}
}
