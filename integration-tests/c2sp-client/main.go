// c2sp-client follows a site's /log/ as a stranger would: with golang.org/x/mod/sumdb's note and tlog, the keys that
// `medulla ledger keys` prints, and a small reader for what C2SP adds: origin line, paths, 0x04 cosignatures.
//
// It prints one JSON object and exits with 0, or says on stderr what does not hold and exits with 1.
package main

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

func main() {
	url := flag.String("url", "", "prefix of the log, for example http://127.0.0.1:8080/log")
	keysFile := flag.String("keys", "", "verifier keys, one a line")
	needed := flag.Int("cosigners", 0, "cosignatures that a checkpoint needs")
	earlier := flag.String("earlier", "", "a checkpoint kept before: the new one must continue it")
	keep := flag.String("keep", "", "write the checkpoint there")
	receipt := flag.String("receipt", "", "a .tlog-proof to judge as well")
	flag.Parse()
	found, err := follow(*url, *keysFile, *needed, *earlier, *keep, *receipt)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(found)
}

type result struct {
	Size           int64  `json:"size"`
	Root           string `json:"root"`
	Cosigners      int    `json:"cosigners"`
	Entries        int64  `json:"entries"`
	ConsistentFrom int64  `json:"consistent_from"`
	Receipt        int64  `json:"receipt"`
}

func follow(url, keysFile string, needed int, earlier, keep, receipt string) (*result, error) {
	keys, err := readKeys(keysFile)
	if err != nil {
		return nil, err
	}
	text, err := get(url+"/checkpoint", "text/plain; charset=utf-8")
	if err != nil {
		return nil, err
	}
	now, err := open(text, keys, needed)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	found := &result{Size: now.tree.N, Root: now.tree.Hash.String(), Cosigners: now.cosigners, Receipt: -1}
	hashes := tlog.TileHashReader(now.tree, tiles{url})
	root, err := tlog.TreeHash(now.tree.N, hashes)
	if err != nil || root != now.tree.Hash {
		return nil, fmt.Errorf("the tiles give root %v, the checkpoint says %v: %v", root, now.tree.Hash, err)
	}
	if found.Entries, err = entries(url, now.tree, hashes); err != nil {
		return nil, err
	}
	if earlier != "" {
		text, err := os.ReadFile(earlier)
		if err != nil {
			return nil, err
		}
		before, err := open(text, keys, needed)
		if err != nil {
			return nil, fmt.Errorf("earlier checkpoint: %w", err)
		}
		proof, err := tlog.ProveTree(now.tree.N, before.tree.N, hashes)
		if err != nil {
			return nil, err
		}
		err = tlog.CheckTree(proof, now.tree.N, now.tree.Hash, before.tree.N, before.tree.Hash)
		if err != nil {
			return nil, fmt.Errorf("not consistent: %w", err)
		}
		found.ConsistentFrom = before.tree.N
	}
	if receipt != "" {
		if found.Receipt, err = checkReceipt(receipt, keys, needed); err != nil {
			return nil, fmt.Errorf("receipt: %w", err)
		}
	}
	if keep != "" {
		return found, os.WriteFile(keep, text, 0o644)
	}
	return found, nil
}

// Every entry, against its hash in the tree, and an inclusion proof for the first, the middle and the last.
func entries(url string, tree tlog.Tree, hashes tlog.HashReader) (int64, error) {
	count := int64(0)
	for bundle := int64(0); bundle*256 < tree.N; bundle++ {
		width := min(256, tree.N-bundle*256)
		path := tlogPath(bundle, int(width))
		body, err := get(url+"/tile/entries/"+path, "application/octet-stream")
		if err != nil {
			return 0, err
		}
		for ; len(body) >= 2; count++ {
			length := int(binary.BigEndian.Uint16(body))
			if len(body) < 2+length {
				return 0, fmt.Errorf("bundle %s is cut off", path)
			}
			record := tlog.RecordHash(body[2 : 2+length])
			body = body[2+length:]
			kept, err := hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, count)})
			if err != nil || kept[0] != record {
				return 0, fmt.Errorf("entry %d is not the one in the tree: %v", count, err)
			}
			if count == 0 || count == tree.N/2 || count == tree.N-1 {
				proof, err := tlog.ProveRecord(tree.N, count, hashes)
				if err != nil {
					return 0, err
				}
				if err := tlog.CheckRecord(proof, tree.N, tree.Hash, count, record); err != nil {
					return 0, fmt.Errorf("entry %d: %w", count, err)
				}
			}
		}
	}
	if count != tree.N {
		return 0, fmt.Errorf("%d entries are served, the checkpoint says %d", count, tree.N)
	}
	return count, nil
}

// C2SP tlog-proof with the record in its extra line.
func checkReceipt(file string, keys []note.Verifier, needed int) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	head, checkpoint, found := strings.Cut(string(text), "\n\n")
	lines := strings.Split(head, "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return 0, errors.New("not a tlog-proof")
	}
	record, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return 0, err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return 0, err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return 0, err
		}
		proof = append(proof, hash)
	}
	opened, err := open([]byte(checkpoint), keys, needed)
	if err != nil {
		return 0, err
	}
	return index, tlog.CheckRecord(proof, opened.tree.N, opened.tree.Hash, index, tlog.RecordHash(record))
}

type checkpoint struct {
	tree      tlog.Tree
	cosigners int
}

// C2SP tlog-checkpoint: origin, size, root; signed by a key of that name, and by enough cosigners.
func open(text []byte, keys []note.Verifier, needed int) (*checkpoint, error) {
	opened, err := note.Open(text, note.VerifierList(keys...))
	if err != nil {
		return nil, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return nil, errors.New("not origin, size and root")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return nil, err
	}
	hash, err := tlog.ParseHash(lines[2])
	if err != nil {
		return nil, err
	}
	log, cosigners := 0, 0
	for _, signature := range opened.Sigs {
		if signature.Name == lines[0] {
			log++
		} else {
			cosigners++
		}
	}
	if log == 0 || cosigners < needed {
		return nil, fmt.Errorf("signed by %d log keys and %d cosigners, %d are needed", log, cosigners, needed)
	}
	return &checkpoint{tlog.Tree{N: size, Hash: hash}, cosigners}, nil
}

// Log keys (0x01) are note's own; cosigner keys (0x04) are read here; keys of other types are not of the checkpoint.
func readKeys(file string) ([]note.Verifier, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var keys []note.Verifier
	for _, line := range strings.Fields(string(text)) {
		name, rest, _ := strings.Cut(line, "+")
		id, encoded, _ := strings.Cut(rest, "+")
		typed, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil || len(typed) < 33 {
			return nil, fmt.Errorf("%s: not a verifier key", line)
		}
		switch typed[0] {
		case 0x01:
			key, err := note.NewVerifier(line)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", line, err)
			}
			keys = append(keys, key)
		case 0x04:
			digest := sha256.Sum256(append([]byte(name+"\n"), typed...))
			hash := binary.BigEndian.Uint32(digest[:])
			if fmt.Sprintf("%08x", hash) != id {
				return nil, fmt.Errorf("%s: the key id does not belong to the key", line)
			}
			keys = append(keys, cosigner{name, hash, ed25519.PublicKey(typed[1:])})
		}
	}
	return keys, nil
}

// C2SP tlog-cosignature v1.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (c cosigner) Name() string    { return c.name }
func (c cosigner) KeyHash() uint32 { return c.hash }

func (c cosigner) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(sig)
	age := time.Since(time.Unix(int64(at), 0))
	if age < -time.Minute || age > time.Hour {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", at, msg)
	return ed25519.Verify(c.key, []byte(signed), sig[8:])
}

// The tree over HTTP, as tlog.TileHashReader asks for it.
type tiles struct{ url string }

func (t tiles) Height() int { return tileHeight }

func (t tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range wanted {
		path := fmt.Sprintf("%s/tile/%d/%s", t.url, tile.L, tlogPath(tile.N, tile.W))
		body, err := get(path, "application/octet-stream")
		if err != nil {
			return nil, err
		}
		data = append(data, body)
	}
	return data, nil
}

func (t tiles) SaveTiles([]tlog.Tile, [][]byte) {}

// x001/x234/067, with .p/W for less than 256.
func tlogPath(n int64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n >= 1000 {
		n /= 1000
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	if width < 256 {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}

func get(url, contentType string) ([]byte, error) {
	response, err := http.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s %s", url, response.Status, bytes.TrimSpace(body))
	}
	if got := response.Header.Get("Content-Type"); got != contentType {
		return nil, fmt.Errorf("%s: content type %q, the standard says %q", url, got, contentType)
	}
	return body, nil
}
