package main

import (
	"slices"
	"time"
)

// lateBounds are the upper bounds of a histogram's classes; the last class has none.
var lateBounds = [...]time.Duration{
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond,
	time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second,
}

// A lateness is a histogram of how long after their time refreshes started.
type lateness struct {
	classes [len(lateBounds) + 1]int
	count   int
	most    time.Duration
}

// add notes a refresh that started d after its time; a negative d is on time.
func (l *lateness) add(d time.Duration) {
	i, found := slices.BinarySearch(lateBounds[:], d)
	if found {
		i++ // the bound itself belongs to the next class
	}
	l.classes[i]++
	l.count++
	l.most = max(l.most, d)
}

// below returns a bound under which at least this part of the refreshes lies: the bound of
// a class, or the greatest lateness if that is less. It is 0 if there were none.
func (l *lateness) below(part float64) time.Duration {
	sum := 0
	for i, bound := range lateBounds {
		sum += l.classes[i]
		if float64(sum) >= part*float64(l.count) {
			return min(bound, l.most)
		}
	}
	return l.most
}

// className names a class by its bound.
func className(i int) string {
	if i == len(lateBounds) {
		return ">=" + lateBounds[i-1].String()
	}
	return "<" + lateBounds[i].String()
}

// used returns the classes from the first to the last that is not empty.
func (l *lateness) used() (from, to int) {
	to = len(l.classes)
	for to > 0 && l.classes[to-1] == 0 {
		to--
	}
	for from < to && l.classes[from] == 0 {
		from++
	}
	return from, to
}
