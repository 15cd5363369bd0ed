package hostpool

// A list is a queue of T's, linked through nodes that live inside them: queueing
// allocates nothing, and leaving from the middle is O(1), which container/list and
// slices do not offer together. Its zero value is empty.
type list[T any] struct {
	first, last *node[T]
	len         int
}

// A node is the place of a T in a list. Its zero value is in no list.
type node[T any] struct {
	in         *list[T] // nil: in no list
	prev, next *node[T]
	of         *T // whose place this is
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
