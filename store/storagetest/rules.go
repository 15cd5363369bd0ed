package storagetest

// checks has the checks on one handle, in the order of the rules in the comment of
// Storage. Those that close the store come last.
var checks = []check{
	{"Concurrent", "Every method is safe for concurrent use.", checkConcurrent},
	{"DoneContext", "A call whose ctx is already done returns the error of ctx and changes nothing.", checkDoneContext},
	{"ErrorText", "The text of an error contains neither a key nor a value.", checkErrorText},
	{"ContextEnds", "When ctx ends during a call, the call returns soon with the error of ctx.", checkContextEnds},
	{"UnknownOutcome", "A write that ended in this way, or with ErrUnavailable, may or may not have taken effect; " +
		"only a Load can tell.", checkUnknownOutcome},

	{"Keys", "A key is any string of 0 to MaxKeyLen bytes, and keys are equal only if all their bytes are.", checkKeys},
	{"LongKey", "Load, Store and Delete of a longer key return ErrTooLarge.", checkLongKey},
	{"Values", "A value is zero or more bytes, up to a limit that the store documents; " +
		"Store of a larger value returns ErrTooLarge and changes nothing.", checkValues},

	{"LoadAbsent", "Load of an absent key returns ErrNotFound.", checkLoadAbsent},
	{"RoundTrip", "Load returns the key, the value and the version of the last Store of the key.", checkRoundTrip},
	{"ReadYourWrites", "A Load that begins after a Store of the key has returned sees that Store or a later write.", checkReadYourWrites},
	{"StoreCopies", "Store keeps a copy of the value, so the caller may change its bytes afterwards.", checkStoreCopies},
	{"LoadCopies", "Load returns a copy of the value, which the caller may change and later writes do not change.", checkLoadCopies},

	{"Unconditional", "A write without a condition succeeds whether the key is absent or present.", checkUnconditional},
	{"StoreConflict", "A Store whose condition does not hold returns a *ConflictError and changes nothing.", checkStoreConflict},
	{"DeleteConflict", "A Delete of a present key whose condition does not hold returns a *ConflictError and changes nothing.", checkDeleteConflict},
	{"Current", "The Current of a *ConflictError is the version that the write found, and does not satisfy its condition.", checkCurrent},
	{"OneStoreWins", "Of Stores that race with IfVersion for the version a key has, or with IfAbsent for an absent key, " +
		"exactly one succeeds.", checkOneStoreWins},
	{"StoreOrDelete", "Of a Store and a Delete that race with IfVersion for the version a key has, exactly one succeeds.", checkStoreOrDelete},
	{"Delete", "After a Delete that succeeded the key is absent.", checkDelete},
	{"DeleteAbsent", "Delete of an absent key returns nil, whatever its condition.", checkDeleteAbsent},

	{"FreshVersions", "Every successful Store gives the key a version that it never had, not even before a Delete.", checkFreshVersions},
	{"SameVersion", "The version of a stored item is never empty, and is the same in Store, Load and List.", checkSameVersion},

	{"List", "List yields key, version and size of each item whose key begins with prefix, and nothing else.", checkList},
	{"ListAgain", "List itself reads nothing, and each loop over its result lists the items again.", checkListAgain},
	{"ListWhileWriting", "During concurrent writes, List yields each key that is not written exactly once, and any other at most once.", checkListWhileWriting},
	{"ListEarlyEnd", "A loop over a List may end early.", checkListEarlyEnd},
	{"ListBody", "The body of a loop over a List may call any method of the store.", checkListBody},
	{"ListContext", "A List whose ctx ends yields the error of ctx next, with a zero Meta, and stops.", checkListContext},

	{"CloseUnderWay", "A call that runs during Close completes or returns ErrClosed.", checkCloseUnderWay},
	{"ListError", "Any other error is yielded in the same way: last, with a zero Meta.", checkListError},
	{"UseAfterClose", "Every call after Close returns ErrClosed.", checkUseAfterClose},
	{"ErrorTextClosed", "The text of an error contains neither a key nor a value.", checkClosedErrorText},
	{"CloseTwice", "A second Close returns nil.", checkCloseTwice},
}

// handleChecks has the checks that open one place more than once. They prove rules
// that other checks prove on one handle.
var handleChecks = []handleCheck{
	{"Reopen", "Load returns the key, the value and the version of the last Store of the key.", checkReopen},
	{"ReopenVersions", "Every successful Store gives the key a version that it never had, not even before a Delete.", checkReopenVersions},
	{"TwoHandles", "A Load that begins after a Store of the key has returned sees that Store or a later write.", checkTwoHandles},
	{"TwoHandlesRace", "Of Stores that race with IfVersion for the version a key has, or with IfAbsent for an absent key, " +
		"exactly one succeeds.", checkTwoHandlesRace},
}
