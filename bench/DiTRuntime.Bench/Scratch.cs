using System.Diagnostics;
using System.Runtime.InteropServices;
using DiTRuntime.Backends;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Checkpoints;
using DiTRuntime.Models;
using DiTRuntime.Quantization;
using DiTRuntime.Sampling;
namespace DiTRuntime.Bench;
public static class Scratch {
    sealed class NoCk : ICheckpoint { public string Path=>""; public string Kind=>""; public IReadOnlyDictionary<string,string> Metadata=>new Dictionary<string,string>(); public IReadOnlyList<CheckpointTensor> Tensors=>[]; public bool TryGet(string n, out CheckpointTensor? t){t=null;return false;} public void Dispose(){} }
    sealed class Timed(IDiTBackend b) : IDiTBackend {
        public Dictionary<string,double> T=new();
        void M(string n, Action a){var s=Stopwatch.GetTimestamp();a();T[n]=T.GetValueOrDefault(n)+Stopwatch.GetElapsedTime(s).TotalMilliseconds;}
        public string Name=>b.Name; public string Description=>b.Description; public CancellationToken Cancellation{get=>b.Cancellation;set=>b.Cancellation=value;}
        public Tensor Allocate(ElementType t, params ReadOnlySpan<int> s)=>b.Allocate(t,s);
        public void Upload<X>(ReadOnlySpan<X> s, Tensor d) where X:unmanaged=>b.Upload(s,d);
        public void Download<X>(Tensor s, Span<X> d) where X:unmanaged=>b.Download(s,d);
        public PreparedLinear Prepare(LinearWeight w)=>b.Prepare(w); public PreparedConvolution Prepare(ConvolutionWeight w)=>b.Prepare(w);
        public void Condition(Tensor a,Tensor c,Tensor d,Tensor e)=>M("Condition",()=>b.Condition(a,c,d,e));
        public void PatchEmbed(Tensor a,Tensor i,PreparedLinear p,Tensor q,Tensor t)=>M("PatchEmbed",()=>b.PatchEmbed(a,i,p,q,t));
        public void NormModulate(Tensor t,in Modulation m,int s,float e,Tensor o){var mm=m;M("Norm",()=>b.NormModulate(t,mm,s,e,o));}
        public void Linear(Tensor i,PreparedLinear l,in Epilogue e,Tensor o){var ee=e;M("Linear "+l.Outputs+"x"+l.Inputs+(i.RowCount>32?"":" small"),()=>b.Linear(i,l,ee,o));}
        public void Attention(Tensor q,int h,Tensor o)=>M("Attention",()=>b.Attention(q,h,o));
        public void Unpatchify(Tensor p,Tensor o)=>M("Unpatch",()=>b.Unpatchify(p,o));
        public void GuideAndUpdate(Tensor p,ReadOnlySpan<SampleUpdate> u,Tensor? n,Tensor l)=>b.GuideAndUpdate(p,u,n,l);
        public void Convolution(Tensor i,PreparedConvolution l,in ConvolutionOptions o,Tensor y){var oo=o;M("Conv",()=>b.Convolution(i,l,oo,y));}
        public void GroupNorm(Tensor i,Tensor g,Tensor be,in GroupNormOptions o,Tensor y){var oo=o;M("GN",()=>b.GroupNorm(i,g,be,oo,y));}
        public void Dispose(){}
    }
    public static void Run() {
        var cfg=new DiTConfig{InputSize=32,PatchSize=2,InChannels=4,OutChannels=8,HiddenSize=1152,Depth=28,HeadCount=16,MlpSize=4608,ClassCount=1000};
        var rnd=new Random(1); var vals=new float[6912*1152]; for(int i=0;i<vals.Length;i++) vals[i]=(rnd.NextSingle()-0.5f)*0.05f;
        var path=System.IO.Path.GetTempFileName(); File.WriteAllBytes(path, MemoryMarshal.AsBytes<float>(vals).ToArray());
        var mf=MappedFile.Open(path); File.Delete(path);
        LinearWeight L(int n,int k)=>new DenseWeight("l",[new CheckpointTensor(mf,"w",ElementType.F32,[n,k],0)],new float[n]);
        var w=new DiTWeights{Config=cfg,Checkpoint=new NoCk(),PatchEmbed=L(1152,16),Positions=new float[256*1152],TimestepIn=L(1152,256),TimestepOut=L(1152,1152),LabelTable=(DenseWeight)L(1001,1152),
          Blocks=[.. Enumerable.Range(0,28).Select(_=>new BlockWeights(L(6912,1152),L(3456,1152),L(1152,1152),L(4608,1152),L(1152,4608)))],FinalModulation=L(2304,1152),FinalLinear=L(32,1152),Labels=ClassLabels.Unknown};
        using var cpu=CpuBackend.Create(new CpuOptions()); var timed=new Timed(cpu);
        // owner mismatch: tensors are owned by cpu, ops delegate
        var sw=Stopwatch.StartNew(); using var model=new DiTModel(w,timed,Compatibility.Official); Console.WriteLine($"prepare {sw.Elapsed.TotalSeconds:f2}s {cpu.Description}");
        var plan=SamplingPlan.Create("ddim",TimestepSpacing.Leading.Respace(NoiseSchedule.Linear(),10),0,true);
        var st=new SamplingSettings(plan,new ImageNoise(1),4,3);
        using var batch=new SamplingBatch(model,st,[0],[5]);
        for(int s=0;s<8;s++){ timed.T.Clear(); sw.Restart(); batch.Step(); var ms=sw.Elapsed.TotalMilliseconds;
          var lin=timed.T.Where(k=>k.Key.StartsWith("Linear")&&!k.Key.EndsWith("small")).Sum(k=>k.Value);
          Console.WriteLine($"step {ms:f0} ms; linear {lin:f0}; ratio {ms/lin:f3}; "+string.Join(", ",timed.T.Select(k=>$"{k.Key} {k.Value:f0}"))); }
    }
}
