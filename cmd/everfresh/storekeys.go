package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/everfresh-go/everfresh/store"
	"github.com/everfresh-go/everfresh/store/filestore"
	"github.com/everfresh-go/everfresh/store/sealed"
)

// open returns the records in the directory, and the files that contain them, which the
// caller closes.
func (s *storeCommand) open() (records store.Storage, files *filestore.Store, err error) {
	// Open would create a store in any directory.
	if info, err := os.Stat(filepath.Join(s.dir, "records")); err != nil || !info.IsDir() {
		return nil, nil, fmt.Errorf("no store in %q", s.dir)
	}
	var keys sealed.Keys
	if s.keyFile != "" {
		if keys, err = readKeys(s.keyFile); err != nil {
			return nil, nil, err
		}
	}
	if files, err = filestore.Open(s.dir); err != nil {
		return nil, nil, err
	}
	if s.keyFile == "" {
		return unopened{files}, files, nil
	}
	return sealed.New(files, keys), files, nil
}

// sealedPrefix begins the names of encrypted records; see package sealed.
const sealedPrefix = "sealed."

var errSealed = fmt.Errorf("the record is encrypted, which wants --keys: %w", store.ErrKeyUnavailable)

// unopened is a store without keys. It distinguishes encrypted records, which it cannot
// read, from damaged ones.
type unopened struct{ store.Storage }

// Load implements store.Storage.
func (u unopened) Load(ctx context.Context, key string) (store.Item, error) {
	if strings.HasPrefix(key, sealedPrefix) {
		return store.Item{}, errSealed
	}
	return u.Storage.Load(ctx, key)
}

// namesID is the ID in the line with the secret for names.
const namesID = "names"

// readKeys reads a key file. Its errors do not quote the file.
func readKeys(file string) (sealed.Keys, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return sealed.Keys{}, fmt.Errorf("cannot read the keys: %w", err)
	}
	keys, err := parseKeys(string(content))
	if err != nil {
		return sealed.Keys{}, fmt.Errorf("key file %q: %w", file, err)
	}
	return keys, nil
}

func parseKeys(content string) (sealed.Keys, error) {
	var names sealed.Secret
	var ring []sealed.Key
	n := 0
	for line := range strings.Lines(content) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, err := sealed.ParseKey(line)
		switch {
		case err != nil:
			return sealed.Keys{}, fmt.Errorf("line %d: %w", n, err)
		case k.ID != namesID:
			ring = append(ring, k)
		case names != sealed.Secret{}:
			return sealed.Keys{}, fmt.Errorf("line %d: a second secret of names", n)
		default:
			names = k.Secret
		}
	}
	if names == (sealed.Secret{}) {
		return sealed.Keys{}, errors.New("no line names:HEX")
	}
	if len(ring) == 0 {
		return sealed.Keys{}, errors.New("no line ID:HEX")
	}
	records, err := sealed.NewKeyRing(ring[0], ring[1:]...)
	return sealed.Keys{Names: names, Records: records}, err
}
