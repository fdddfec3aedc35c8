package verify

import (
	"bytes"
	"context"
	"crypto/x509"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/buildkit/client/llb/sourceresolver"
	"github.com/moby/buildkit/frontend/dockerfile/dockerfile2llb"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"smtpshim/proxy/smtptest/real"
)

const (
	repository = "../.."
	dockerfile = "../container/Dockerfile"
)

// noRegistry stands for base images, of which nothing is known but that they are there.
type noRegistry struct{}

func (noRegistry) ResolveImageConfig(_ context.Context, ref string, _ sourceresolver.Opt) (string, digest.Digest, []byte, error) {
	config, err := json.Marshal(map[string]any{"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Env": []string{"PATH=" + os.Getenv("PATH")}}})
	return ref, digest.FromBytes(config), config, err
}

// TestDockerHasNothingToSayAgainstTheDockerfile is what "docker build --check" does.
func TestDockerHasNothingToSayAgainstTheDockerfile(t *testing.T) {
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dockerfile2llb.Dockerfile2LLB(t.Context(), text, dockerfile2llb.ConvertOpt{
		MetaResolver: noRegistry{},
		AllStages:    true,
		Warn: func(rule, description, url, detail string, at []parser.Range) {
			t.Errorf("line %d: %s: %s (%s)", at[0].Start.Line, rule, detail, url)
		},
	})
	if err != nil {
		t.Error(err)
	}
}

// stages are those of the Dockerfile.
func stages(t *testing.T) []instructions.Stage {
	t.Helper()
	text, err := os.ReadFile(dockerfile)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := instructions.Parse(parsed.AST, nil)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// An image is a stage that was carried out: its files, and what the last one says
// of how to run it.
type image struct {
	t       *testing.T
	root    string // where its files are
	workdir string
	args    map[string]string

	uid, gid        uint32
	entrypoint, cmd []string
	health          []string
	stop            syscall.Signal
	exposed         []string
	others          map[string]*image // the stages before, by name
	ignored         *patternmatcher.PatternMatcher
}

// build carries the Dockerfile out by hand, as far as this machine can: a base
// image other than scratch is this machine itself, on a layer of its own. The test
// is on its own machine.
func build(t *testing.T) *image {
	t.Helper()
	ignore, err := os.Open(filepath.Join(repository, ".dockerignore"))
	if err != nil {
		t.Fatal(err)
	}
	defer ignore.Close()
	patterns, err := ignorefile.ReadAll(ignore)
	if err != nil {
		t.Fatal(err)
	}
	aside, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	done := map[string]*image{}
	var last *image
	for _, stage := range stages(t) {
		last = &image{t: t, root: base(t, stage.BaseName), workdir: "/", others: done, ignored: aside,
			args: map[string]string{"TARGETOS": "linux", "TARGETARCH": runtime.GOARCH}}
		for _, c := range stage.Commands {
			last.carryOut(c)
		}
		done[stage.Name] = last
	}
	return last
}

// base gives the files of a base image.
func base(t *testing.T, name string) string {
	t.Helper()
	dir := real.Dir(t)
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	if name == "scratch" {
		return dir
	}
	if want := "golang:" + goVersion(t) + "-bookworm"; name != want {
		t.Errorf("built from %s; go.mod wants %s", name, want)
	}
	root := filepath.Join(dir, "root")
	for _, sub := range []string{"root", "layer", "work"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := unix.Mount("overlay", root, "overlay", 0, fmt.Sprintf("lowerdir=/,upperdir=%s/layer,workdir=%s/work", dir, dir)); err != nil {
		real.Missing(t, fmt.Sprintf("a layer over the files of this machine: %v", err))
	}
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, sub := range []string{"/dev", "/proc", strings.TrimSpace(string(cache))} { // the last saves time when it is built again
		real.Bind(t, sub, root+sub)
	}
	return root
}

// goVersion is what go.mod asks for, in two numbers.
func goVersion(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(repository, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(text), "\ngo ")
	major, rest, _ := strings.Cut(after, ".")
	minor, _, _ := strings.Cut(rest, ".")
	return major + "." + minor
}

// carryOut carries one instruction out. One that it does not know fails the test.
func (i *image) carryOut(c instructions.Command) {
	i.t.Helper()
	switch c := c.(type) {
	case *instructions.WorkdirCommand:
		i.workdir = c.Path
		i.check(os.MkdirAll(i.root+c.Path, 0o755))
	case *instructions.ArgCommand:
		for _, a := range c.Args {
			if _, given := i.args[a.Key]; !given && a.Value != nil {
				i.args[a.Key] = *a.Value
			}
		}
	case *instructions.CopyCommand:
		i.copy(c)
	case *instructions.RunCommand:
		cmd := exec.Command("/bin/sh", "-c", strings.Join(c.CmdLine, " "))
		cmd.Dir = i.workdir
		cmd.Env = append(os.Environ(), "GOFLAGS=-buildvcs=auto") // which is what the base image has
		for k, v := range i.args {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: i.root}
		if out, err := cmd.CombinedOutput(); err != nil {
			i.t.Fatalf("%s: %v\n%s", c, err, out)
		}
	case *instructions.UserCommand:
		i.uid, i.gid = i.owner(c.User)
	case *instructions.EntrypointCommand:
		i.entrypoint = c.CmdLine
	case *instructions.CmdCommand:
		i.cmd = c.CmdLine
	case *instructions.HealthCheckCommand:
		if c.Health.Test[0] != "CMD" {
			i.t.Fatalf("%s needs a shell", c)
		}
		i.health = c.Health.Test[1:]
	case *instructions.StopSignalCommand:
		i.stop = unix.SignalNum(c.Signal)
	case *instructions.ExposeCommand:
		i.exposed = c.Ports
	case *instructions.LabelCommand:
	default:
		i.t.Fatalf("this test does not know %s", c.Name())
	}
}

func (i *image) check(err error) {
	i.t.Helper()
	if err != nil {
		i.t.Fatal(err)
	}
}

// owner reads a user and a group, which have to be numbers: Kubernetes cannot see
// of a name that it is not root's.
func (i *image) owner(text string) (uid, gid uint32) {
	i.t.Helper()
	user, group, _ := strings.Cut(text, ":")
	u, err := strconv.ParseUint(user, 10, 32)
	i.check(err)
	g, err := strconv.ParseUint(group, 10, 32)
	i.check(err)
	return uint32(u), uint32(g)
}

// copy carries COPY out, from the context or another stage.
func (i *image) copy(c *instructions.CopyCommand) {
	i.t.Helper()
	from, ignored := repository, i.ignored
	if c.From != "" {
		from, ignored = i.others[c.From].root, nil
	}
	var uid, gid uint32
	if c.Chown != "" {
		uid, gid = i.owner(c.Chown)
	}
	for _, source := range c.SourcePaths {
		to := c.DestPath
		if !path.IsAbs(to) {
			to = path.Join(i.workdir, to)
		}
		source = filepath.Join(from, source)
		if info, err := os.Stat(source); err != nil {
			i.t.Fatal(err)
		} else if strings.HasSuffix(c.DestPath, "/") && !info.IsDir() {
			to = path.Join(to, filepath.Base(source))
		}
		i.check(filepath.WalkDir(source, func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if ignored != nil && file != source {
				name, _ := filepath.Rel(repository, file)
				if match, err := ignored.MatchesOrParentMatches(name); err != nil || match {
					return err
				}
			}
			inside, _ := filepath.Rel(source, file)
			return put(file, filepath.Join(i.root, to, inside), entry, int(uid), int(gid))
		}))
	}
}

// put copies one file or makes one folder.
func put(from, to string, entry fs.DirEntry, uid, gid int) error {
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if info.IsDir() {
		if err := os.Mkdir(to, info.Mode().Perm()); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return os.Chown(to, uid, gid)
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(to, text, info.Mode().Perm()); err != nil {
		return err
	}
	return os.Chown(to, uid, gid)
}

// mount has a folder appear in the image, as -v does.
func (i *image) mount(folder, at string) {
	i.t.Helper()
	i.check(os.MkdirAll(i.root+at, 0o755))
	real.Bind(i.t, folder, i.root+at)
}

// lock makes the image's own files read-only, as --read-only does.
func (i *image) lock() {
	i.t.Helper()
	i.check(unix.Mount("", i.root, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
}

// command is a program of the image's, as its user, without any right.
func (i *image) command(args ...string) *exec.Cmd {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Err = nil // the path is the image's, not this machine's
	cmd.Path, cmd.Dir = args[0], "/"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: i.root, Credential: &syscall.Credential{Uid: i.uid, Gid: i.gid}}
	return cmd
}

// start runs the image until the test ends.
func (i *image) start(args []string) (*exec.Cmd, *real.Log) {
	i.t.Helper()
	log := &real.Log{}
	cmd := i.command(append(i.entrypoint, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	i.check(cmd.Start())
	i.t.Cleanup(func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
		if i.t.Failed() {
			i.t.Logf("%q said:\n%s", args, log)
		}
	})
	return cmd, log
}

const containerConfig = `
state_dir = "/var/lib/smtpshim"
[[route]]
name = "in"
listen = [":2525"]
servers = ["legacy.example.com:2626"]
client_tls = {mode = "offer", certificate = "self-signed", names = ["mail.example.com"]}
`

// TestTheImageRunsReadOnlyAndWithoutRights builds it by hand, step by step as the
// Dockerfile says, and runs it as Docker would.
func TestTheImageRunsReadOnlyAndWithoutRights(t *testing.T) {
	t.Parallel()
	config, state := real.Dir(t), real.Dir(t)
	if err := os.WriteFile(filepath.Join(config, "smtpshim.toml"), []byte(containerConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	real.OwnFiles(t) // with the network as it is, for the modules
	i := build(t)
	static(t, i.root+i.entrypoint[0])
	changed, err := exec.Command("git", "-C", repository, "status", "--porcelain").Output()
	i.check(err)
	if out, err := i.command(append(i.entrypoint, "version")...).CombinedOutput(); err != nil ||
		strings.Contains(string(out), "(devel)") || strings.Contains(string(out), "+dirty") && len(changed) == 0 {
		t.Errorf("its version is %s, %v; want the commit's", out, err)
	}
	bundle, err := os.ReadFile(i.root + "/etc/ssl/certs/ca-certificates.crt")
	if err != nil || !x509.NewCertPool().AppendCertsFromPEM(bundle) {
		t.Errorf("no authorities in the image: %v", err)
	}
	if i.uid == 0 || i.gid == 0 {
		t.Error("it runs as root")
	}

	real.OwnMachine(t, "127.0.0.2 legacy.example.com\n")
	info, err := os.Stat(i.root + "/var/lib/smtpshim")
	i.check(err)
	owner := info.Sys().(*syscall.Stat_t)
	i.check(os.Chown(state, int(owner.Uid), int(owner.Gid))) // as Docker does with a new volume
	i.mount(state, "/var/lib/smtpshim")
	i.mount(config, "/etc/smtpshim")
	text, err := os.ReadFile("/etc/hosts")
	i.check(err)
	i.check(os.WriteFile(i.root+"/etc/hosts", text, 0o644)) // as Docker does
	i.lock()

	i.start([]string{"demo", "-listen", "127.0.0.2:2626", "-bare", "exchange-5.0"})
	real.Listening(t, "127.0.0.2:2626")
	if out, err := i.command(i.health...).CombinedOutput(); err == nil {
		t.Errorf("it is healthy before it runs: %s", out)
	}
	shim, log := i.start(i.cmd)
	real.Wait(t, "the health check to pass", func() bool { return i.command(i.health...).Run() == nil })
	if got := say(t, "127.0.0.1:"+i.exposed[0], "EHLO sub2.", "QUIT"); !strings.Contains(got, " ESMTP ") || !strings.Contains(got, "STARTTLS") {
		t.Errorf("the client hears\n%s", got)
	}
	i.check(shim.Process.Signal(i.stop))
	if err := shim.Wait(); err != nil || !strings.Contains(log.String(), "msg=stopped") {
		t.Errorf("told to stop, it ends with %v\n%s", err, log)
	}
	if files, _ := os.ReadDir(state); len(files) == 0 {
		t.Error("its certificates are not in the volume")
	}
}

// static wants a program that needs nothing else.
func static(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%s needs libraries", program)
		}
	}
}
