// Package storagetest tests whether a [store.Storage] follows the contract: for each
// rule in the comment of Storage there is a named check that quotes the rule.
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
// As in [testing/slogtest], there are two functions. [Run] is for tests: every check
// is a subtest with a store of its own, and four more checks open the same place
// again, or twice at once. [Check] is for programs: it tests one empty store and
// returns the rules that it breaks.
//
// # Exceptions
//
// A store that cannot follow a rule declares that with [Except] and a reason, and in
// its documentation. Run prints both, so that users do not find out by losing data.
//
//	storagetest.Except("ReadYourWrites", "writes reach the disk a second later")
//
// # What it cannot test
//
// The checks use a store in the same way as its users. What happens when a disk is
// full, a server dies or the power fails can only be tested by the store's own tests,
// which can inject such faults. Races are only found if they occur: use -race, and
// -count for more runs.
package storagetest
