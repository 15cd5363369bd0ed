// Package storagetest proves that a [store.Storage] keeps the contract: for each
// rule in the comment of Storage there is a check with a name, which quotes it.
//
//	func TestConformance(t *testing.T) {
//		dir := t.TempDir()
//		storagetest.Run(t, func(t *testing.T, place string) store.Storage {
//			s, err := filestore.Open(filepath.Join(dir, place))
//			if err != nil {
//				t.Fatal(err)
//			}
//			return s
//		})
//	}
//
// There are two doors, as [testing/slogtest] has. [Run] is for tests: every check
// is a subtest on a store of its own, and four more checks open one place again, or
// twice at once. [Check] is for programs: it takes one empty store and returns
// what it found.
//
// # Exceptions
//
// A store that cannot keep a rule says so with [Except] and a reason, in its
// documentation too. Run prints both; nobody finds out by losing data.
//
//	storagetest.Except("ReadYourWrites", "writes reach the disk a second later")
//
// # What it cannot see
//
// The checks use a store as its users do. What happens when a disk is full, a
// server dies or the power fails needs faults that only the store's own tests can
// inject. Races are found by running them; use -race, and -count for more luck.
package storagetest
