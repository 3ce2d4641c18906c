using System.Diagnostics;
using DiTRuntime.Tests.Cli;
using DiTRuntime.Tests.Exporter.EndToEnd;

namespace DiTRuntime.Tests.Deploy;

/// <summary>The program as the image holds it: published on its own and trimmed, by the command of the Dockerfile, and run in a folder that holds nothing else.</summary>
internal sealed class PublishedProgram : IDisposable
{
    /// <summary>What the Dockerfile says after "dotnet publish", but where to.</summary>
    public static readonly string[] PublishArguments =
        ["src/DiTRuntime.Cli", "-c", "Release", "-r", "linux-x64", "--self-contained", "-p:PublishTrimmed=true", "-p:DebugType=none"];

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("dit-image-");

    /// <summary>Publishes; the repository's own build is not touched. Any warning of the trimming is an error.</summary>
    public PublishedProgram()
    {
        var start = new ProcessStartInfo("dotnet", ["publish", .. PublishArguments, "--artifacts-path", Path.Combine(_folder.FullName, "build"), "-o", Folder, "-v", "quiet", "--nologo"])
        {
            WorkingDirectory = TestFiles.Root,
            RedirectStandardOutput = true,
        };
        using var process = Process.Start(start)!;
        var text = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode == 0) return;
        Dispose();
        Assert.Fail(text);
    }

    /// <summary>Where it lies.</summary>
    public string Folder => Path.Combine(_folder.FullName, "app");

    /// <summary>Where it may write.</summary>
    public string Writable => Path.Combine(_folder.FullName, "tmp");

    /// <summary>Bytes of all its files.</summary>
    public long ByteCount => new DirectoryInfo(Folder).EnumerateFiles("*", SearchOption.AllDirectories).Sum(file => file.Length);

    /// <summary>
    /// Runs it as the image would: user 10001, no capability, every file system read-only but /tmp, which is <see cref="Writable"/>, and nothing to be
    /// seen but the program and the machine's C libraries.
    /// </summary>
    public Process Start(params string[] arguments)
    {
        if (!OperatingSystem.IsLinux() || Environment.UserName != "root") throw new IgnoreException("a root of its own is made by root, on Linux");
        var root = Directory.CreateDirectory(Path.Combine(_folder.FullName, "root")).FullName;
        Directory.CreateDirectory(Writable);
        File.SetUnixFileMode(Writable, (UnixFileMode)0b111_111_111);
        const string script = """
            set -e
            root=$1 app=$2 tmp=$3
            shift 3
            mount -t tmpfs tmpfs "$root"
            mkdir -p "$root/app" "$root/tmp" "$root/proc" "$root/dev" "$root/usr/lib" "$root/etc"
            mount --bind -o ro "$app" "$root/app"
            mount --bind "$tmp" "$root/tmp"
            mount --rbind /usr/lib "$root/usr/lib"
            mount -o remount,ro,bind "$root/usr/lib"
            [ -d /usr/lib64 ] && mkdir -p "$root/usr/lib64" && mount --bind -o ro /usr/lib64 "$root/usr/lib64"
            for name in lib lib64; do [ -e "/$name" ] && ln -s "usr/$name" "$root/$name"; done
            cp /etc/ld.so.cache "$root/etc/"
            mount -t proc proc "$root/proc"
            touch "$root/dev/null" && mount --bind /dev/null "$root/dev/null"
            touch "$root/dev/urandom" && mount --bind /dev/urandom "$root/dev/urandom"
            mount -o remount,ro "$root"
            cd "$root"
            chroot=$(command -v chroot) setpriv=$(command -v setpriv)
            exec env -i DIT_CACHE=/cache TMPDIR=/tmp DOTNET_EnableDiagnostics=0 \
                "$setpriv" --no-new-privs "$chroot" --userspec=10001:10001 --groups= "$root" /app/dit "$@"
            """;
        // Each step takes the place of the one before: a signal to the process that is started reaches the program.
        return CliRunner.Start("unshare", ["--mount", "sh", "-c", script, "sh", root, Folder, Writable, .. arguments]);
    }

    /// <summary>Runs it to its end.</summary>
    public CliResult Run(params string[] arguments)
    {
        using var process = Start(arguments);
        var result = CliRunner.Finish(process);
        if (result.Error.Contains("mount:", StringComparison.Ordinal) || result.Error.Contains("unshare:", StringComparison.Ordinal)) throw CTools.Missing($"a root of its own cannot be made here: {result.Error}");
        return result;
    }

    /// <inheritdoc/>
    public void Dispose() => _folder.Delete(recursive: true);
}
