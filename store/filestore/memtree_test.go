package filestore

import (
	"bytes"
	"io/fs"
	"maps"
	"path"
	"slices"
)

// A memTree is a tree in memory that knows what of it is on disk: bytes once their
// file was synced, names once their directory was. Until then they may or may not
// be there after a loss of power, each on its own.
type memTree struct {
	live, disk map[string]map[string]*inode // names by directory; disk: what is durable
	pending    []nameChange                 // of live, not on disk

	// What a broken store would leave out.
	skipFileSync, skipDirSync, inPlace bool

	step func() // called after every change, if not nil
}

// A nameChange is a name that got another inode, or none.
type nameChange struct {
	dir, name string
	to        *inode
}

// An inode is a file or a directory.
type inode struct {
	isDir      bool
	live, disk []byte
	pending    []dataChange // since the last sync
}

// A dataChange empties a file, or appends to it.
type dataChange struct {
	truncate bool
	data     []byte
}

func newMemTree() *memTree {
	return &memTree{
		live: map[string]map[string]*inode{".": {}},
		disk: map[string]map[string]*inode{".": {}},
	}
}

func (t *memTree) changed() {
	if t.step != nil {
		t.step()
	}
}

func (t *memTree) setName(name string, to *inode) {
	dir, base := path.Split(name)
	dir = path.Clean(dir)
	if to == nil {
		delete(t.live[dir], base)
	} else {
		t.live[dir][base] = to
	}
	t.pending = append(t.pending, nameChange{dir, base, to})
}

func (t *memTree) find(name string) (*inode, error) {
	dir, base := path.Split(name)
	f, ok := t.live[path.Clean(dir)][base]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return f, nil
}

func (t *memTree) Mkdir(name string) error {
	if _, err := t.find(name); err == nil {
		return nil
	}
	t.live[name] = map[string]*inode{}
	if t.disk[name] == nil {
		t.disk[name] = map[string]*inode{}
	}
	t.setName(name, &inode{isDir: true})
	t.changed()
	return nil
}

func (t *memTree) Create(name string) (writeFile, error) {
	if _, err := t.find(name); err == nil {
		return nil, fs.ErrExist
	}
	f := &inode{}
	t.setName(name, f)
	t.changed()
	return &memFile{tree: t, inode: f}, nil
}

func (t *memTree) Open(name string) (readFile, error) {
	f, err := t.find(name)
	if err != nil {
		return nil, err
	}
	return memReader{bytes.NewReader(f.live)}, nil
}

func (t *memTree) Names(dir string) ([]string, error) {
	return slices.Sorted(maps.Keys(t.live[dir])), nil
}

func (t *memTree) Rename(from, to string) error {
	f, err := t.find(from)
	if err != nil {
		return err
	}
	if t.inPlace {
		return t.overwrite(to, f.live, from)
	}
	t.setName(from, nil)
	t.setName(to, f)
	t.changed()
	return nil
}

// overwrite is what os.WriteFile would do in place of a rename.
func (t *memTree) overwrite(name string, data []byte, tmp string) error {
	f, err := t.find(name)
	if err != nil {
		f = &inode{}
		t.setName(name, f)
		t.changed()
	}
	f.live, f.pending = nil, append(f.pending, dataChange{truncate: true})
	t.changed()
	w := &memFile{tree: t, inode: f}
	_, _ = w.Write(data)
	_ = w.Sync()
	return t.Remove(tmp)
}

func (t *memTree) Remove(name string) error {
	if _, err := t.find(name); err != nil {
		return nil //nolint:nilerr // As the real one.
	}
	t.setName(name, nil)
	t.changed()
	return nil
}

func (t *memTree) Sync(dir string) error {
	if !t.skipDirSync {
		t.writeBack(dir)
	}
	t.changed()
	return nil
}

// writeBack puts the names in dir on disk, as the system does sooner or later.
func (t *memTree) writeBack(dir string) {
	for _, c := range t.pending {
		if c.dir == dir {
			set(t.disk, c)
		}
	}
	t.pending = slices.DeleteFunc(t.pending, func(c nameChange) bool { return c.dir == dir })
}

func set(names map[string]map[string]*inode, c nameChange) {
	if c.to == nil {
		delete(names[c.dir], c.name)
		return
	}
	names[c.dir][c.name] = c.to
}

type memReader struct{ *bytes.Reader }

func (r memReader) Size() (int64, error) { return r.Reader.Size(), nil }

func (memReader) Close() error { return nil }

type memFile struct {
	tree  *memTree
	inode *inode
}

func (f *memFile) Write(p []byte) (int, error) {
	p = bytes.Clone(p)
	f.inode.live = append(f.inode.live, p...)
	f.inode.pending = append(f.inode.pending, dataChange{data: p})
	f.tree.changed()
	return len(p), nil
}

func (f *memFile) Sync() error {
	if !f.tree.skipFileSync {
		f.inode.disk, f.inode.pending = bytes.Clone(f.inode.live), nil
	}
	f.tree.changed()
	return nil
}

func (*memFile) Close() error { return nil }

// afterPowerLoss calls check with every tree that a loss of power at this moment may
// leave: each name that changed may have any value it had since its directory was
// synced, and each change of a file may be there, half or whole, or not.
func (t *memTree) afterPowerLoss(check func(*memTree)) {
	type slot struct{ dir, name string }
	var slots []slot
	values := make(map[slot][]*inode)
	for _, c := range t.pending {
		s := slot{c.dir, c.name}
		if values[s] == nil {
			slots = append(slots, s)
			values[s] = []*inode{t.disk[c.dir][c.name]}
		}
		if !slices.Contains(values[s], c.to) {
			values[s] = append(values[s], c.to)
		}
	}
	var choose func(names map[string]map[string]*inode, slots []slot)
	choose = func(names map[string]map[string]*inode, slots []slot) {
		if len(slots) == 0 {
			chooseData(names, check)
			return
		}
		for _, to := range values[slots[0]] {
			next := make(map[string]map[string]*inode)
			for dir := range names {
				next[dir] = maps.Clone(names[dir])
			}
			set(next, nameChange{slots[0].dir, slots[0].name, to})
			choose(next, slots[1:])
		}
	}
	choose(t.disk, slots)
}

// chooseData calls check with each content that the records may have; what is in
// the files of tmp is never read.
func chooseData(names map[string]map[string]*inode, check func(*memTree)) {
	var files []*inode
	if names["."][recordsDir] != nil {
		for _, f := range names[recordsDir] {
			if len(f.pending) > 0 {
				files = append(files, f)
			}
		}
	}
	contents := make(map[*inode][]byte)
	var choose func(files []*inode)
	choose = func(files []*inode) {
		if len(files) == 0 {
			check(image(names, contents))
			return
		}
		for _, data := range files[0].versions() {
			contents[files[0]] = data
			choose(files[1:])
		}
	}
	choose(files)
}

// versions returns what may be on disk of a file.
func (f *inode) versions() [][]byte {
	all := [][]byte{f.disk}
	for _, c := range f.pending {
		for _, before := range slices.Clone(all) {
			if c.truncate {
				all = append(all, nil)
				continue
			}
			all = append(all, slices.Concat(before, c.data[:len(c.data)/2]), slices.Concat(before, c.data))
		}
	}
	return all
}

// image returns the tree that a start after the loss of power finds.
func image(names map[string]map[string]*inode, contents map[*inode][]byte) *memTree {
	t := newMemTree()
	for dir := range names["."] {
		t.live[dir] = map[string]*inode{}
	}
	for dir := range t.live {
		for name, f := range names[dir] {
			data, ok := contents[f]
			if !ok {
				data = f.disk
			}
			t.live[dir][name] = &inode{isDir: f.isDir, live: data, disk: data}
		}
		t.disk[dir] = maps.Clone(t.live[dir])
	}
	return t
}
