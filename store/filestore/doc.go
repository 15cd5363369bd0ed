// Package filestore keeps records in a directory, one file a record. It is the
// storage to take when there is a disk and no server: it needs nothing beyond the
// standard library, and several processes may use one directory.
//
//	s, err := filestore.Open("/var/lib/myservice/everfresh")
//	if err != nil {
//		return err
//	}
//	defer s.Close()
//	cache := everfresh.NewCache(ctx, everfresh.WithStorage(s))
//
// # Durability
//
// When Store or Delete has returned nil, its effect survives a crash of the
// process, of the system, and a loss of power, as far as the disk keeps what it
// has confirmed. A write that was interrupted leaves the old record or the new one,
// never a part of one. Each write therefore waits for the disk twice: it writes a
// new file, syncs it, renames it over the old one and syncs the directory. On
// Windows, where a directory cannot be synced, the file system's journal stands in
// for the last step.
//
// # The directory
//
//	lock          empty; locked while somebody writes
//	records/      one file a record, named by the SHA-256 of its key in hex
//	tmp/          the file that is being written; emptied by Open
//	quarantine/   damaged records that were replaced or deleted, the oldest first
//
// Directories that Open creates have the mode 0700, files 0600. Nothing is ever
// opened or written outside the directory, even if somebody plants a symbolic link
// in it. Other files in the directory, and other names in records, are left alone;
// what is in tmp and quarantine belongs to the store. A copy of the directory, made
// while nobody writes, is a backup.
//
// A record is, with all numbers in big-endian order:
//
//	"EVFS" 0x01              4 + 1 bytes
//	length of the key        2 bytes
//	length of the value      8 bytes
//	version                  16 random bytes
//	SHA-256 of the value     32 bytes
//	key
//	SHA-256 of all that      32 bytes
//	value
//
// # Many processes
//
// Any number of processes on one machine, and of Stores in one process, may use a
// directory at once. A write holds the lock of the directory from its look at the
// condition to the last sync, so writes happen one after the other, at a few
// hundred a second on a plain disk. Reads take no lock: they see the file before a
// rename or after it. The system drops the lock of a process that dies. One that
// was stopped while it wrote makes the writes of others wait until their ctx ends.
// The lock is flock, or LockFileEx on Windows; a file system that is shared by
// machines must support it between them, and most network file systems that claim
// so have not been tested.
//
// A version is random and not counted: it cannot come back when a key is deleted,
// when a backup is restored or when two processes write.
//
// # Damage
//
// A record that was changed behind the store's back, by a bad disk or an editor, is
// found by its checksums: Load returns store.ErrCorrupt, and List yields it once at
// the end, after all intact items. No other record is affected, and Open never
// looks at records, so it cannot fail because of one. A write without a condition
// replaces or deletes a damaged record, and moves it into quarantine, where the
// last 100 are kept.
//
// # Errors
//
// An error of the file system is store.ErrUnavailable and also what the system
// said, for example [syscall.ENOSPC]; its text has no file name. After one the
// store goes on to work: what failed may be tried again. If only the sync after a
// rename failed, the new record is there already, though it may not survive a loss
// of power.
package filestore
