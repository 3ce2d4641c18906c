namespace DiTRuntime.Checkpoints;

/// <summary>
/// What applying a global means, for the few that describe tensors. Every other global is inert data; those whose only use
/// in a pickle is an attack are refused by name.
/// </summary>
internal static class PickleGlobals
{
    private const int TensorArguments = 6;

    private static readonly HashSet<string> s_refusedModules = new(StringComparer.Ordinal)
    {
        "_frozen_importlib", "_frozen_importlib_external", "_pickle", "_posixsubprocess", "_socket", "_thread", "asyncio", "bdb", "cProfile",
        "code", "codeop", "commands", "cloudpickle", "concurrent", "ctypes", "dill", "distutils", "ftplib", "http", "importlib", "io", "joblib",
        "marshal", "multiprocessing", "nt", "ntpath", "operator", "os", "pdb", "pickle", "pip", "pkgutil", "platform", "posix", "posixpath",
        "profile", "pty", "requests", "runpy", "setuptools", "shutil", "signal", "smtplib", "socket", "ssl", "subprocess", "sys",
        "tempfile", "threading", "timeit", "trace", "urllib", "urllib2", "webbrowser", "xmlrpc", "zipimport",
    };

    /// <summary>Builtins that are plain data; the others (eval, exec, getattr, ...) are refused.</summary>
    private static readonly HashSet<string> s_builtinData = new(StringComparer.Ordinal)
    {
        "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "long", "object", "range", "set", "slice", "str", "tuple", "unicode", "xrange",
    };

    /// <exception cref="InvalidFileException">The global runs code, reaches the system or loads code.</exception>
    public static PickleGlobal Check(string path, PickleGlobal global)
    {
        var root = global.Module.Split('.')[0];
        var refused = root switch
        {
            "builtins" or "__builtin__" or "__builtins__" => !s_builtinData.Contains(global.Name),
            "torch" => global.Module.StartsWith("torch.hub", StringComparison.Ordinal),
            _ => s_refusedModules.Contains(root),
        };
        // A name with a dot walks into attributes, which would reach a refused module through a harmless one.
        return refused || global.Name.Contains('.', StringComparison.Ordinal)
            ? throw new InvalidFileException(path, $"the pickle names {global}, which no checkpoint needs and an attack does; refused, nothing was run")
            : global;
    }

    /// <summary>The object that a global applied to arguments stands for. Nothing is called.</summary>
    /// <exception cref="InvalidFileException">A tensor's description has other arguments than it should.</exception>
    public static object? Apply(string path, PickleGlobal global, object?[] arguments) => (global.Module, global.Name) switch
    {
        ("collections", "OrderedDict") => OrderedDictionary(path, arguments),
        ("torch._utils", "_rebuild_tensor_v2") => Tensor(path, arguments),
        ("torch._utils", "_rebuild_parameter" or "_rebuild_parameter_with_state") when arguments.Length > 0 => arguments[0],
        ("torch", "Size") when arguments is [object?[] extents] => extents,
        _ => PickleOpaque.Instance,
    };

    /// <summary>The storage that a persistent id ("storage", type, key, location, element count) stands for.</summary>
    /// <exception cref="InvalidFileException">It is not a storage.</exception>
    public static PickleStorage Storage(string path, object? id) =>
        id is object?[] { Length: 5 } and ["storage", PickleGlobal type, string key, _, long count]
            ? new PickleStorage(type.Name, key, count)
            : throw new InvalidFileException(path, "the pickle refers to something that is not a tensor's storage");

    /// <summary>The element type of a storage class, or null where it is not supported.</summary>
    public static ElementType? TypeOf(PickleStorage storage) => storage.TypeName switch
    {
        "DoubleStorage" => ElementType.F64,
        "FloatStorage" => ElementType.F32,
        "HalfStorage" => ElementType.F16,
        "BFloat16Storage" => ElementType.BF16,
        "LongStorage" => ElementType.I64,
        "IntStorage" => ElementType.I32,
        "ShortStorage" => ElementType.I16,
        "CharStorage" => ElementType.I8,
        "ByteStorage" or "UntypedStorage" => ElementType.U8,
        "BoolStorage" => ElementType.Bool,
        _ => null,
    };

    private static PickleDictionary OrderedDictionary(string path, object?[] arguments)
    {
        var dictionary = new PickleDictionary();
        if (arguments is [List<object?> pairs])
        {
            // The spelling of older Pythons: OrderedDict([[key, value], ...]).
            foreach (var pair in pairs)
            {
                var (key, value) = pair switch
                {
                    List<object?> { Count: 2 } list => (list[0], list[1]),
                    object?[] { Length: 2 } tuple => (tuple[0], tuple[1]),
                    _ => throw new InvalidFileException(path, "the pickle builds an OrderedDict from something other than pairs"),
                };
                dictionary.Add(key, value);
            }
        }

        return dictionary;
    }

    private static PickleTensor Tensor(string path, object?[] arguments) =>
        arguments.Length >= TensorArguments && arguments is [PickleStorage storage, long offset, object?[] shape, object?[] strides, ..]
            ? new PickleTensor(storage, offset, Integers(path, shape), Integers(path, strides))
            : throw new InvalidFileException(path, "the pickle describes a tensor without its storage, offset, shape and strides");

    private static long[] Integers(string path, object?[] values)
    {
        if (values.Length > TensorRules.MaxRank)
            throw new InvalidFileException(path, $"the pickle describes a tensor of {values.Length} dimensions; at most {TensorRules.MaxRank} are read");
        return Array.ConvertAll(values, v => v is long number ? number : throw new InvalidFileException(path, "the pickle describes a tensor's shape by something other than integers"));
    }
}
