// Package filestore keeps records in a directory, one file for each record. Use it when
// there is a disk but no server: it needs only the standard library, and several
// processes may share a directory.
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
// After Store or Delete has returned nil, its effect survives a crash of the process or
// the system and a loss of power, provided that the disk keeps what it has confirmed.
// An interrupted write leaves either the old record or the new one, never a part of
// one. Each write therefore waits for the disk twice: it writes a new file, syncs it,
// renames it over the old one and syncs the directory. On Windows, where a directory
// cannot be synced, the file system's journal replaces the last step.
//
// # The directory
//
//	lock          empty; locked during writes
//	records/      one file for each record, named by the SHA-256 of its key in hex
//	tmp/          the file that is being written; emptied by Open
//	quarantine/   damaged records that were replaced or deleted, the oldest first
//
// Directories that Open creates have the mode 0700, files 0600. The store never opens or
// writes anything outside the directory, even if an attacker plants a symbolic link in
// it. Other files in the directory, and other names in records, are left alone; all
// files in tmp and quarantine belong to the store. A copy of the directory is a backup
// if there were no writes meanwhile.
//
// A record is, with all numbers in big-endian order:
//
//	"EVFS" 0x01              4 + 1 bytes
//	length of the key        2 bytes
//	length of the value      8 bytes
//	version                  16 random bytes
//	SHA-256 of the value     32 bytes
//	key
//	SHA-256 of all above     32 bytes
//	value
//
// # Many processes
//
// Any number of processes on one machine, and of Stores in one process, may use a
// directory at the same time. A write holds the lock of the directory from checking the
// condition to the last sync, so writes happen one after the other, a few hundred per
// second on an ordinary disk. Reads take no lock: they see the file before or after a
// rename. The system releases the lock of a process that dies. If a process is suspended
// while it writes, writes of others wait until their ctx ends. The lock is flock, or
// LockFileEx on Windows. A file system that several machines share must support it
// between them; network file systems have not been tested.
//
// Versions are random and not counted, so they are not reused when a key is deleted,
// when a backup is restored or when two processes write.
//
// # Damage
//
// Checksums detect a record that something else has changed, such as a bad disk or an
// editor: Load returns store.ErrCorrupt, and List yields that error once, after all
// intact items. Other records are not affected. Open does not read records, so it cannot
// fail because of one. A write without a condition replaces or deletes a damaged record
// and moves it to quarantine, where the last 100 are kept.
//
// # Errors
//
// An error of the file system wraps both store.ErrUnavailable and the system's error,
// for example [syscall.ENOSPC]; its text contains no file name. The store still works
// after an error, and the call may be repeated. If only the sync after a rename failed,
// the new record is there, but it may not survive a loss of power.
package filestore
