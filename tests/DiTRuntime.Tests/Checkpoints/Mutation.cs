namespace DiTRuntime.Tests.Checkpoints;

/// <summary>Damages a file the way disks, networks and attackers do; a seed gives one sequence.</summary>
internal sealed class Mutation(int seed)
{
    private static readonly byte[] s_tellingBytes = [0, 1, 0x7f, 0x80, 0xff, (byte)'9', (byte)'-', (byte)'"', (byte)'{', (byte)'.'];
    private static readonly long[] s_tellingNumbers = [0, 1, -1, int.MaxValue, uint.MaxValue, 1L << 40, long.MaxValue, long.MinValue];

    private readonly Random _random = new(seed);

    /// <summary>A damaged copy.</summary>
    public byte[] Apply(byte[] original)
    {
        var bytes = new List<byte>(original);
        for (var i = _random.Next(1, 4); i > 0; i--) ApplyOne(bytes);
        return [.. bytes];
    }

    private void ApplyOne(List<byte> bytes)
    {
        if (bytes.Count == 0) return;
        var at = Position(bytes.Count);
        switch (_random.Next(7))
        {
            case 0:
                bytes[at] ^= (byte)(1 << _random.Next(8));
                break;
            case 1:
                bytes[at] = (byte)_random.Next(256);
                break;
            case 2:
                bytes[at] = s_tellingBytes[_random.Next(s_tellingBytes.Length)];
                break;
            case 3:
                bytes.RemoveRange(at, _random.Next(3) == 0 ? bytes.Count - at : Math.Min(_random.Next(1, 40), bytes.Count - at));
                break;
            case 4:
                var inserted = new byte[_random.Next(1, 40)];
                _random.NextBytes(inserted);
                bytes.InsertRange(at, inserted);
                break;
            case 5:
                var block = bytes.GetRange(at, Math.Min(_random.Next(1, 200), bytes.Count - at));
                var to = Position(bytes.Count);
                for (var i = 0; i < block.Count && to + i < bytes.Count; i++) bytes[to + i] = block[i];
                break;
            default:
                var number = BitConverter.GetBytes(s_tellingNumbers[_random.Next(s_tellingNumbers.Length)]);
                var width = _random.Next(2) == 0 ? 4 : 8;
                for (var i = 0; i < width && at + i < bytes.Count; i++) bytes[at + i] = number[i];
                break;
        }
    }

    /// <summary>Half the time near an end, where formats keep what describes the rest.</summary>
    private int Position(int length) => _random.Next(4) switch
    {
        0 => _random.Next(Math.Min(length, 400)),
        1 => length - 1 - _random.Next(Math.Min(length, 400)),
        _ => _random.Next(length),
    };
}
