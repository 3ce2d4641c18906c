using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.CompilerServices;
using DiTRuntime.Backends.Cpu;
using DiTRuntime.Backends.Cpu.Simd;
namespace DiTRuntime.Bench;
public static unsafe class Scratch {
    [MethodImpl(MethodImplOptions.NoInlining)]
    static float Peak(int n) {
        Vector512<float> a=Vector512.Create(1f),b=Vector512.Create(1e-9f);
        Vector512<float> c0=a,c1=a,c2=a,c3=a,c4=a,c5=a,c6=a,c7=a,c8=a,c9=a,c10=a,c11=a;
        for(int i=0;i<n;i++){c0=Vector512.FusedMultiplyAdd(a,b,c0);c1=Vector512.FusedMultiplyAdd(a,b,c1);c2=Vector512.FusedMultiplyAdd(a,b,c2);c3=Vector512.FusedMultiplyAdd(a,b,c3);c4=Vector512.FusedMultiplyAdd(a,b,c4);c5=Vector512.FusedMultiplyAdd(a,b,c5);c6=Vector512.FusedMultiplyAdd(a,b,c6);c7=Vector512.FusedMultiplyAdd(a,b,c7);c8=Vector512.FusedMultiplyAdd(a,b,c8);c9=Vector512.FusedMultiplyAdd(a,b,c9);c10=Vector512.FusedMultiplyAdd(a,b,c10);c11=Vector512.FusedMultiplyAdd(a,b,c11);}
        return Vector512.Sum(c0+c1+c2+c3+c4+c5+c6+c7+c8+c9+c10+c11);
    }
    static float* Alloc(long n){var p=(float*)NativeMemory.AlignedAlloc((nuint)(n*4),64); for(long i=0;i<n;i++)p[i]=(float)((i*2654435761L%1000)/1000.0-0.5); return p;}
    static void Gemm<TS,TV>(float* a,float* b,float* c,int M,int N,int K,int MC,int KC) where TS:struct,ISimd<TV> where TV:struct {
        int nr=PanelProduct<TS,TV>.PanelWidth, mr=PanelProduct<TS,TV>.TileRows;
        float** rows=stackalloc float*[8];
        float* acc=c;
        for(int p=0;p<N/nr;p++) for(int m0=0;m0<M;m0+=MC) for(int k0=0;k0<K;k0+=KC){ int kc=Math.Min(KC,K-k0);
            for(int m=m0;m<Math.Min(M,m0+MC);m+=mr){ for(int r=0;r<mr;r++) rows[r]=a+(long)(m+r)*K+k0;
                PanelProduct<TS,TV>.Multiply(rows,kc,b+((long)p*K+k0)*nr,acc+(m-m0)*nr,k0==0);} }
    }
    public static void Run() {
        int M=512;
        for(int i=0;i<100;i++){Peak(20000);}
        System.Threading.Thread.Sleep(300);
        double peak=0; for(int t=0;t<5;t++){var sw=Stopwatch.StartNew(); Peak(20_000_000); peak=Math.Max(peak,20e6*12*32/sw.Elapsed.TotalSeconds/1e9);} 
        Console.WriteLine($"peak {peak:f1} GFLOP/s");
        float* c=Alloc(512*4800);
        void T<TS,TV>(string name) where TS:struct,ISimd<TV> where TV:struct {
        foreach(var (N,K) in new[]{(3456,1152),(1152,1152),(4608,1152),(1152,4608)}){ var a=Alloc((long)M*K); var b=Alloc((long)N*K);
          foreach(var (mc,kc) in new[]{(128,128),(128,256),(128,384),(256,384),(512,384),(128,576),(128,1152),(512,1152),(64,1152)}){
            double best=1e9; for(int t=0;t<6;t++){var sw=Stopwatch.StartNew(); Gemm<TS,TV>(a,b,c,M,N,K,mc,kc); best=Math.Min(best,sw.Elapsed.TotalSeconds);} double g=2.0*M*N*K/best/1e9;
            Console.WriteLine($"{name} {N}x{K} mc {mc} kc {kc}: {g:f1} GFLOP/s {g/peak:p1}"); } NativeMemory.AlignedFree(a); NativeMemory.AlignedFree(b);}
        }
        T<Simd512,Vector512<float>>("512"); 
        T<Simd256,Vector256<float>>("256"); 
    }
}
