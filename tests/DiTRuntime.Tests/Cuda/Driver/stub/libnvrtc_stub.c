// A libnvrtc that has a version and compiles nothing; STUB_MAJOR and STUB_MINOR are given with -D.
#include <stddef.h>

#define API __attribute__((visibility("default")))

API int nvrtcVersion(int* major, int* minor) { *major = STUB_MAJOR, *minor = STUB_MINOR; return 0; }
API const char* nvrtcGetErrorString(int code) { return code == 7 ? "NVRTC_ERROR_BUILTIN_OPERATION_FAILURE" : "NVRTC_ERROR_UNKNOWN"; }
API int nvrtcGetNumSupportedArchs(int* n) { *n = 2; return 0; }
API int nvrtcGetSupportedArchs(int* out) { out[0] = 80, out[1] = 90; return 0; }
API int nvrtcCreateProgram(void** program, const char* source, const char* name, int count, const char** headers, const char** names) {
    (void)name, (void)count, (void)headers, (void)names;
    *program = (void*)source;
    return 0;
}
API int nvrtcDestroyProgram(void** program) { *program = NULL; return 0; }
// A source that begins with 'b' finds the builtins missing.
API int nvrtcCompileProgram(void* program, int count, const char** options) { (void)count, (void)options; return *(char*)program == 'b' ? 7 : 0; }
API int nvrtcGetProgramLogSize(void* program, size_t* n) { (void)program; *n = 5; return 0; }
API int nvrtcGetProgramLog(void* program, char* out) { (void)program; for (int i = 0; i < 5; i++) out[i] = "note"[i]; return 0; }
API int nvrtcGetCUBINSize(void* program, size_t* n) { (void)program; *n = 3; return 0; }
API int nvrtcGetCUBIN(void* program, char* out) { (void)program; out[0] = 1, out[1] = 2, out[2] = 3; return 0; }
